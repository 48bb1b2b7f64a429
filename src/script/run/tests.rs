use super::*;
use std::path::{Path, PathBuf};

/// A folder of its own for one test, gone at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("lvsd-run-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    /// Writes a script; its path.
    fn script(&self, name: &str, text: &str, mode: u32) -> String {
        use std::os::unix::fs::PermissionsExt;
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn launch(words: &[&str]) -> Launch {
    Launch {
        command: Command {
            words: words.iter().map(|w| (*w).to_owned()).collect(),
            user: Some("root".to_owned()).filter(|_| rustix::process::geteuid().is_root()),
            group: None,
        },
        environment: vec![("LVSD_STATE".to_owned(), "MASTER".to_owned())],
        is_secure: false,
        limit: Duration::from_secs(20),
        is_ours: true,
    }
}

async fn run(launch: Launch) -> Ended {
    Runner::new(4).run(launch, std::future::pending()).await
}

async fn shell(text: &str) -> Ended {
    run(launch(&["/bin/sh", "-c", text])).await
}

#[tokio::test]
async fn a_run_ends_with_status_signal_and_output() {
    let ended = shell("echo out; echo err >&2; exit 3").await;
    assert_eq!(ended, Ended { ending: Ending::Exited(3), output: "out\nerr\n".to_owned() });
    assert_eq!(shell("kill -9 $$").await.ending, Ending::Signalled(9));
    let ended = run(launch(&["sh", "-c", "echo $LVSD_STATE $0 $1; pwd; ulimit -n", "a", "b c"])).await;
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).maximum;
    assert_eq!(ended.output, format!("MASTER a b c\n/\n{}\n", most.unwrap_or(1024).min(1024)));
}

#[tokio::test]
async fn a_command_that_cannot_run_says_why() {
    let folder = Folder::new("cannot");
    let why = async |words: &[&str]| match run(launch(words)).await.ending {
        Ending::CannotRun(why) => why.replace(&format!("{}/", folder.0.display()), ""),
        other => panic!("{words:?}: {other}"),
    };
    let plain = folder.script("plain", "#!/bin/sh\n", 0o644);
    let lost = folder.script("lost", "#!/nonexistent/interpreter\n", 0o755);
    assert_eq!(why(&["/nonexistent/script"]).await, "/nonexistent/script: there is no such file");
    assert_eq!(why(&[&plain]).await, "plain: is not executable: `chmod +x` it");
    assert_eq!(why(&[&lost]).await, "lost: the interpreter in its first line does not exist");
    assert_eq!(why(&["/tmp"]).await, "/tmp: is no file");
    assert!(why(&["nosuchprogram"]).await.starts_with("nosuchprogram: there is no such program in "));
    let mut nobody = launch(&["/bin/true"]);
    nobody.command.user = Some("nosuchuser".to_owned());
    let ending = run(nobody).await.ending;
    assert!(ending.cannot_run().unwrap().contains("there is no user nosuchuser"), "{ending}");
    assert!(shell("exit 127").await.ending.cannot_run().is_some());
    assert_eq!(shell("exit 1").await.ending.cannot_run(), None);
}

#[tokio::test]
async fn a_script_without_an_interpreter_is_the_shells() {
    let folder = Folder::new("bare");
    let bare = folder.script("bare", "echo \"$1\"\n", 0o755);
    let ended = run(launch(&[&bare, "x y"])).await;
    assert_eq!((ended.ending, ended.output.as_str()), (Ending::Exited(0), "x y\n"));
}

#[tokio::test]
async fn it_runs_as_another_user() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let mut other = launch(&["/bin/sh", "-c", "id -u; id -g; id -G"]);
    (other.command.user, other.command.group) = (Some("nobody".to_owned()), Some("daemon".to_owned()));
    assert_eq!(run(other).await.output, "65534\n1\n1\n", "and has none of the daemon's groups");
}

#[tokio::test]
async fn a_hanging_script_ends_with_its_children() {
    let folder = Folder::new("hang");
    let pids = folder.0.join("pids");
    let text = format!("sleep 1000 & echo $! $$ > {}; wait", pids.display());
    let mut hanging = launch(&["/bin/sh", "-c", &text]);
    hanging.limit = Duration::from_millis(300);
    assert_eq!(run(hanging).await.ending, Ending::TimedOut);
    assert_gone(&pids).await;
    // One that does not listen is killed, and its children with it.
    let text = format!("trap '' TERM; sleep 1000 & echo $! $$ > {}; wait; wait; wait", pids.display());
    let mut deaf = launch(&["/bin/sh", "-c", &text]);
    deaf.limit = Duration::from_millis(300);
    assert_eq!(run(deaf).await.ending, Ending::TimedOut);
    assert_gone(&pids).await;
}

#[tokio::test]
async fn a_script_whose_time_is_cut_or_whose_subject_is_gone_ends() {
    let (hurry, hurried) = tokio::sync::oneshot::channel::<()>();
    let runner = Runner::new(1);
    let running = tokio::spawn(async move {
        runner.run(launch(&["/bin/sleep", "1000"]), async { drop(hurried.await) }).await
    });
    hurry.send(()).unwrap();
    assert_eq!(running.await.unwrap().ending, Ending::TimedOut);
    let folder = Folder::new("forgotten");
    let pids = folder.0.join("pids");
    let text = format!("echo $$ > {}; exec sleep 1000", pids.display());
    let forgotten = tokio::spawn(async move { shell(&text).await });
    while std::fs::read_to_string(&pids).map_or(true, |text| text.is_empty()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    forgotten.abort();
    assert_gone(&pids).await;
}

/// Reading accounts from a FIFO hangs as a network file system does whose server is gone.
#[tokio::test]
async fn a_start_of_a_script_that_hangs_keeps_its_slot_until_it_ends() {
    let folder = Folder::new("beginning");
    let fifo = folder.0.join("passwd");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let mut runner = Runner::new(1);
    runner.accounts.passwd = fifo.clone();
    let quick = |is_ours, user: Option<&str>| {
        let mut launch = launch(&["/bin/true"]);
        launch.command.user = user.map(str::to_owned);
        (launch.limit, launch.is_ours) = (Duration::from_millis(100), is_ours);
        launch
    };
    let run = |launch| runner.run(launch, std::future::pending());
    let hanging = run(quick(false, Some("root"))).await.ending;
    let crowded = run(quick(false, None)).await.ending;
    let release = || std::fs::OpenOptions::new().write(true).open(&fifo).map(drop);
    release().unwrap();
    let mut patient = quick(false, None);
    patient.limit = Duration::from_secs(20);
    let after = run(patient).await.ending;
    // One of ours is still under way: it would begin again and again otherwise.
    let ours = run(quick(true, Some("root")));
    tokio::pin!(ours);
    let early = timeout(Duration::from_millis(300), &mut ours).await;
    release().unwrap();
    assert_eq!(ours.await.ending, Ending::TimedOut);
    assert!(early.is_err(), "{early:?}");
    assert_eq!((hanging, after), (Ending::TimedOut, Ending::Exited(0)));
    assert!(matches!(&crowded, Ending::HostCannot(why) if why.contains("hold all places")), "{crowded}");
}

#[tokio::test]
async fn what_a_script_leaves_behind_lives_and_may_go_on_talking() {
    let folder = Folder::new("behind");
    let (go, done) = (folder.0.join("go"), folder.0.join("done"));
    let text = format!(
        "echo begun; (while [ ! -e {} ]; do sleep 0.05; done; echo more; echo more; echo ok > {}) &",
        go.display(),
        done.display()
    );
    let ended = shell(&text).await;
    assert_eq!((ended.ending, ended.output.as_str()), (Ending::Exited(0), "begun\n"), "it is not waited for");
    std::fs::write(&go, "").unwrap();
    while std::fs::read_to_string(&done).map_or(true, |text| text.is_empty()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn output_is_bounded_and_never_blocks() {
    let ended = shell("head -c 1000000 /dev/zero | tr '\\0' x; exit 5").await;
    assert_eq!((ended.ending, ended.output.len()), (Ending::Exited(5), MAX_OUTPUT));
}

/// Waits until none of the processes in a file runs; a zombie does not.
async fn assert_gone(pids: &Path) {
    let text = std::fs::read_to_string(pids).unwrap();
    for pid in text.split_whitespace() {
        let runs = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.starts_with(" Z"))
        };
        for _ in 0..1000 {
            if !runs() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(!runs(), "process {pid} still runs");
    }
}
