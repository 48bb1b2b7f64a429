use super::*;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::script::Command;
use crate::vrrp::settings::{
    ArgumentMatch, FileSettings, GroupSettings, NotifyCommands, ProcessSettings, Track,
};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("lvsd-track-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn at(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn script(words: &[&str]) -> ScriptSettings {
    ScriptSettings {
        name: "chk".to_owned(),
        command: Command { words: words.iter().map(|w| (*w).to_owned()).collect(), user: None, group: None },
        interval: Duration::from_millis(50),
        timeout: Duration::from_secs(20),
        weight: 0,
        is_reversed: false,
        rise: 1,
        fall: 1,
        begins_failed: false,
    }
}

fn settings(script: Option<ScriptSettings>) -> Settings {
    let mut settings = Settings::default();
    if let Some(script) = script {
        settings.scripts.insert("chk".to_owned(), Arc::new(script));
    }
    follow(&mut settings, TrackTarget::Script("chk".to_owned()));
    settings
}

fn follow(settings: &mut Settings, target: TrackTarget) {
    let group = GroupSettings {
        name: "G".to_owned(),
        is_pair: false,
        members: Vec::new(),
        tracks: vec![Track { target, weight: 0, is_reversed: false }],
        counts_weights: false,
        notify: NotifyCommands::default(),
    };
    settings.groups.push(Arc::new(group));
}

async fn next(trackers: &mut Trackers) -> String {
    match tokio::time::timeout(Duration::from_secs(30), trackers.next()).await {
        Ok(News::Router(Input::Tracked { target, level })) => format!("{target:?} {level:?}"),
        Ok(News::Director(FileLevel { name, number, complaint, .. })) => {
            format!("{name} says {number}, {complaint:?}")
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_script_is_as_its_last_run() {
    let folder = Folder::new("script");
    let flag = folder.at("flag");
    let mut trackers = Trackers::new();
    trackers
        .configure(&settings(Some(script(&["/bin/sh", "-c", &format!("[ -e {flag} ]")]))), &BTreeSet::new());
    assert_eq!(next(&mut trackers).await, "Script(\"chk\") Is(false)");
    fs::write(&flag, "").unwrap();
    assert_eq!(next(&mut trackers).await, "Script(\"chk\") Is(true)");
    fs::remove_file(&flag).unwrap();
    assert_eq!(next(&mut trackers).await, "Script(\"chk\") Is(false)");
}

#[tokio::test]
async fn a_script_that_vanishes_is_failed_and_one_that_comes_back_is_not() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new("vanish");
    let path = folder.at("script");
    let write = || {
        fs::write(&path, "#!/bin/sh\nexit 0\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    write();
    let mut trackers = Trackers::new();
    trackers.configure(&settings(Some(script(&[&path]))), &BTreeSet::new());
    assert_eq!(next(&mut trackers).await, "Script(\"chk\") Is(true)");
    fs::remove_file(&path).unwrap();
    assert_eq!(next(&mut trackers).await, "Script(\"chk\") Is(false)");
    write();
    assert_eq!(next(&mut trackers).await, "Script(\"chk\") Is(true)");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(next(&mut trackers).await, "Script(\"chk\") Is(false)");
}

#[tokio::test]
async fn a_file_that_is_to_be_opened_need_not_be_a_program() {
    let folder = Folder::new("open");
    let path = folder.at("file");
    let mut trackers = Trackers::new();
    trackers.configure(&settings(Some(script(&["<", &path]))), &BTreeSet::new());
    assert_eq!(next(&mut trackers).await, "Script(\"chk\") Is(false)");
    fs::write(&path, "").unwrap();
    assert_eq!(next(&mut trackers).await, "Script(\"chk\") Is(true)");
}

#[tokio::test]
async fn a_hanging_script_fails_at_its_timeout_and_is_gone_after_a_reload() {
    let folder = Folder::new("hang");
    let pid = folder.at("pid");
    let mut hanging =
        script(&["/bin/sh", "-c", &format!("trap '' TERM; echo $$ > {pid}; sleep 1000; sleep 1000")]);
    (hanging.timeout, hanging.fall) = (Duration::from_millis(200), 3);
    let mut trackers = Trackers::new();
    trackers.configure(&settings(Some(hanging)), &BTreeSet::new());
    assert_eq!(next(&mut trackers).await, "Script(\"chk\") Is(false)");
    let runs = || {
        let pid = fs::read_to_string(&pid).unwrap_or_default();
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.starts_with(" Z"))
    };
    // Slow machines write it late.
    while fs::read_to_string(&pid).is_ok_and(|text| text.is_empty()) {
        tokio::task::yield_now().await;
    }
    trackers.configure(&settings(None), &BTreeSet::new());
    for _ in 0..2000 {
        if !runs() {
            return;
        }
        let _ = tokio::time::timeout(Duration::from_millis(5), trackers.next()).await;
    }
    panic!("it still runs");
}

#[tokio::test]
async fn untracked_scripts_do_not_run() {
    let folder = Folder::new("unfollowed");
    let ran = folder.at("ran");
    let mut all = settings(Some(script(&["/bin/sh", "-c", &format!("touch {ran}")])));
    all.groups.clear();
    let mut trackers = Trackers::new();
    trackers.configure(&all, &BTreeSet::new());
    assert!(tokio::time::timeout(Duration::from_millis(300), trackers.next()).await.is_err());
    assert!(!fs::exists(&ran).unwrap());
}

#[tokio::test]
async fn a_files_number_is_reported_when_it_changes() {
    let folder = Folder::new("file");
    let path = folder.0.join("number");
    let file = |initial| FileSettings {
        name: "f".to_owned(),
        path: path.clone(),
        weight: 1,
        is_reversed: false,
        initial,
    };
    let mut all = Settings::default();
    all.files.insert("f".to_owned(), Arc::new(file(Some((3, false)))));
    follow(&mut all, TrackTarget::File("f".to_owned()));
    let mut trackers = Trackers::new();
    trackers.configure(&all, &BTreeSet::new());
    assert_eq!(next(&mut trackers).await, "File(\"f\") Counts(3)", "it was written at the start");
    for (text, expected) in [("-5\n", -5), ("none\n", 0), ("7", 7)] {
        let (new, begun) = (folder.at("new"), clock::now());
        fs::write(&new, text).unwrap();
        fs::rename(&new, &path).unwrap();
        assert_eq!(next(&mut trackers).await, format!("File(\"f\") Counts({expected})"));
        assert!(clock::now().since(begun) < Duration::from_secs(4), "the kernel tells of it");
    }
    fs::remove_file(&path).unwrap();
    assert_eq!(next(&mut trackers).await, "File(\"f\") Counts(0)");
    fs::write(&path, "4").unwrap();
    assert_eq!(next(&mut trackers).await, "File(\"f\") Counts(4)");
    // A reload does not write it again, and what is known is not told again.
    all.files.insert("f".to_owned(), Arc::new(FileSettings { weight: 2, ..file(Some((3, true))) }));
    trackers.configure(&all, &BTreeSet::new());
    assert!(tokio::time::timeout(Duration::from_millis(200), trackers.next()).await.is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "4");
    // A check that begins to follow it learns what is known.
    trackers.configure(&all, &["f"].into());
    assert_eq!(next(&mut trackers).await, "File(\"f\") Counts(4)");
    assert_eq!(next(&mut trackers).await, "f says 4, None");
    fs::write(&path, "four").unwrap();
    assert_eq!(next(&mut trackers).await, "File(\"f\") Counts(0)");
    assert_eq!(next(&mut trackers).await, "f says 0, Some(\"`four` is no whole number\")");
    // The router follows it no more.
    all.groups.clear();
    trackers.configure(&all, &["f"].into());
    assert_eq!(next(&mut trackers).await, "f says 0, Some(\"`four` is no whole number\")");
    fs::remove_file(&path).unwrap();
    assert_eq!(next(&mut trackers).await, "f says 0, Some(\"there is no such file\")");
}

#[tokio::test]
async fn processes_are_counted_while_they_run() {
    let folder = Folder::new("process");
    let program = folder.at("lvsd-test-sleeper");
    fs::copy("/bin/sleep", &program).unwrap();
    let process = ProcessSettings {
        name: "p".to_owned(),
        command: vec![program.clone(), "1234".to_owned()],
        arguments: ArgumentMatch::Exact,
        weight: 0,
        is_reversed: false,
        quorum: 2,
        quorum_max: 2,
        start_delay: Duration::ZERO,
        end_delay: Duration::ZERO,
        is_full_command: true,
    };
    let mut all = Settings::default();
    all.processes.insert("p".to_owned(), Arc::new(process));
    follow(&mut all, TrackTarget::Process("p".to_owned()));
    let mut trackers = Trackers::new();
    trackers.configure(&all, &BTreeSet::new());
    let start = || std::process::Command::new(&program).arg("1234").spawn().unwrap();
    assert_eq!(next(&mut trackers).await, "Process(\"p\") Is(false)");
    let (mut one, mut two) = (start(), start());
    assert_eq!(next(&mut trackers).await, "Process(\"p\") Is(true)");
    let mut three = start();
    assert_eq!(next(&mut trackers).await, "Process(\"p\") Is(false)", "too many");
    three.kill().unwrap();
    assert_eq!(
        next(&mut trackers).await,
        "Process(\"p\") Is(true)",
        "one that no instance waited for does not run"
    );
    one.kill().unwrap();
    assert_eq!(next(&mut trackers).await, "Process(\"p\") Is(false)");
    two.kill().unwrap();
    for mut child in [one, two, three] {
        child.wait().unwrap();
    }
}

/// The limit is the whole process's, so this runs in one of its own.
#[tokio::test]
async fn a_host_that_has_no_descriptors_left_says_nothing_of_scripts_and_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    const ALONE: &str = "LVSD_TEST_ALONE";
    const NAME: &str =
        "daemon::trackers::tests::a_host_that_has_no_descriptors_left_says_nothing_of_scripts_and_files";
    if std::env::var_os(ALONE).is_none() {
        let own = std::env::current_exe().unwrap();
        let run = std::process::Command::new(own).args([NAME, "--exact"]).env(ALONE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&run.stdout).into_owned();
        assert!(run.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let folder = Folder::new("descriptors");
    let (flag, number) = (folder.at("flag"), folder.at("number"));
    fs::write(&flag, "").unwrap();
    fs::write(&number, "7").unwrap();
    let mut all = settings(Some(script(&["/bin/sh", "-c", &format!("[ -e {flag} ]")])));
    let opened = ScriptSettings { name: "open".to_owned(), ..script(&["<", &flag]) };
    all.scripts.insert("open".to_owned(), Arc::new(opened));
    follow(&mut all, TrackTarget::Script("open".to_owned()));
    let file = FileSettings {
        name: "f".to_owned(),
        path: number.clone().into(),
        weight: 1,
        is_reversed: false,
        initial: None,
    };
    all.files.insert("f".to_owned(), Arc::new(file));
    follow(&mut all, TrackTarget::File("f".to_owned()));
    let mut trackers = Trackers::new();
    trackers.configure(&all, &BTreeSet::new());
    let three = async |trackers: &mut Trackers| {
        let mut told = Vec::new();
        for _ in 0..3 {
            told.push(next(trackers).await);
        }
        told.sort();
        told
    };
    let well = ["File(\"f\") Counts(7)", "Script(\"chk\") Is(true)", "Script(\"open\") Is(true)"];
    assert_eq!(three(&mut trackers).await, well);
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(3), maximum: before.maximum }).unwrap();
    // None of them is in its former state, which cannot be known.
    fs::remove_file(&flag).unwrap();
    fs::rename(&number, folder.at("elsewhere")).unwrap();
    let told = tokio::time::timeout(Duration::from_millis(1500), trackers.next()).await;
    setrlimit(Resource::Nofile, before).unwrap();
    assert!(told.is_err(), "{told:?}");
    let ill = ["File(\"f\") Counts(0)", "Script(\"chk\") Is(false)", "Script(\"open\") Is(false)"];
    assert_eq!(three(&mut trackers).await, ill);
}
