use super::*;
use std::io::{BufRead, BufReader, Read};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("lvsd-fifos-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn fifo(&self) -> Fifo {
        Fifo { path: self.0.join("fifo"), user: None, group: None, reader: None }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn line(audience: Audience, text: &str) -> FifoLine {
    FifoLine { audience, bytes: text.as_bytes().to_vec() }
}

/// Lets it work until a condition holds.
async fn work_until(fifos: &mut Fifos, mut is_so: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if is_so() {
            return;
        }
        let _ = tokio::time::timeout(Duration::from_millis(5), fifos.work()).await;
    }
    panic!("it does not come to that");
}

#[tokio::test]
async fn a_fifo_is_made_takes_lines_before_its_reader_comes_and_goes_at_a_stop() {
    let folder = Folder::new("made");
    let path = folder.fifo().path;
    let mut fifos = Fifos::new();
    let only_vrrp = FifoTarget { fifo: folder.fifo(), audiences: vec![Audience::Vrrp] };
    fifos.configure(vec![only_vrrp], false);
    fifos.push(&line(Audience::Vrrp, "INSTANCE \"VI\" BACKUP 100\n"));
    fifos.push(&line(Audience::Lvs, "VS [10.0.0.1]:tcp:80 UP\n"));
    fifos.push(&line(Audience::Vrrp, "INSTANCE \"VI\" MASTER 100\n"));
    let open = &path;
    work_until(&mut fifos, || open.exists()).await;
    work_until(&mut fifos, {
        let mut tries = 0;
        move || {
            tries += 1;
            tries > 5
        }
    })
    .await;
    let mut reader = BufReader::new(fs::File::open(&path).unwrap());
    let mut heard = String::new();
    reader.read_line(&mut heard).unwrap();
    reader.read_line(&mut heard).unwrap();
    assert_eq!(heard, "INSTANCE \"VI\" BACKUP 100\nINSTANCE \"VI\" MASTER 100\n");
    fifos.finish(Duration::from_secs(1), true).await;
    assert!(!path.exists());
    assert_eq!(reader.read(&mut [0]).unwrap(), 0, "its reader hears the end");
}

#[tokio::test]
async fn one_without_a_reader_delays_nothing_and_one_that_is_no_fifo_is_left_alone() {
    let folder = Folder::new("full");
    let mut fifos = Fifos::new();
    let audiences = vec![Audience::Vrrp];
    fifos.configure(vec![FifoTarget { fifo: folder.fifo(), audiences: audiences.clone() }], false);
    let text = format!("INSTANCE \"{}\" MASTER 100\n", "x".repeat(200));
    work_until(&mut fifos, || folder.fifo().path.exists()).await;
    for _ in 0..6000 {
        fifos.push(&line(Audience::Vrrp, &text));
    }
    let _ = tokio::time::timeout(Duration::from_millis(50), fifos.work()).await;
    let lost = fifos.open.values().map(|o| o.backlog.lost()).sum::<u64>();
    assert!(lost > 1000, "{lost} lines are lost, and counted");
    let begun = clock::now();
    fifos.finish(Duration::from_millis(100), false).await;
    assert!(clock::now().since(begun) < Duration::from_secs(5));
    assert!(folder.fifo().path.exists(), "a hand-over leaves it");
    fs::remove_file(folder.fifo().path).unwrap();
    fs::write(folder.fifo().path, "precious").unwrap();
    fifos.configure(vec![FifoTarget { fifo: folder.fifo(), audiences }], false);
    fifos.push(&line(Audience::Vrrp, &text));
    let _ = tokio::time::timeout(Duration::from_millis(50), fifos.work()).await;
    fifos.finish(Duration::from_millis(100), true).await;
    assert_eq!(fs::read_to_string(folder.fifo().path).unwrap(), "precious");
}

#[tokio::test]
async fn a_reader_gets_the_path_last_and_is_started_again() {
    let folder = Folder::new("reader");
    let out = folder.0.join("out");
    let text = format!("echo begun >> {0}; read line < $1; echo $line >> {0}", out.display());
    let words = ["/bin/sh", "-c", &text, "reader"].map(str::to_owned).to_vec();
    let reader = Some(Command { words, user: None, group: None });
    let mut fifos = Fifos::new();
    let fifo = Fifo { reader, ..folder.fifo() };
    fifos.configure(vec![FifoTarget { fifo, audiences: vec![Audience::Vrrp] }], false);
    fifos.push(&line(Audience::Vrrp, "one\n"));
    let heard = || fs::read_to_string(&out).unwrap_or_default();
    work_until(&mut fifos, || heard() == "begun\none\nbegun\n").await;
    fifos.push(&line(Audience::Vrrp, "two\n"));
    work_until(&mut fifos, || heard().contains("two\n")).await;
    fifos.finish(Duration::from_secs(1), true).await;
}

#[test]
fn what_a_program_puts_in_the_place_of_a_fifo_is_neither_opened_nor_given_away() {
    use std::os::unix::fs::{MetadataExt, chown, symlink};
    let folder = Folder::new("swapped");
    let path = folder.fifo().path;
    let mkfifo = |path: &Path| {
        rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, Mode::from_raw_mode(0o644), 0).unwrap();
    };
    let to = Account { uid: 12345, gid: 12345 };
    let victim = folder.0.join("victim");
    let uid = || fs::metadata(&victim).unwrap().uid();
    let refused = |owner| take(&path, owner).unwrap_err().to_string();
    let own = rustix::process::geteuid().as_raw();

    fs::write(&victim, "precious").unwrap();
    symlink(&victim, &path).unwrap();
    assert_eq!(refused(Some(to)), "it is a symbolic link: name the FIFO itself");
    fs::remove_file(&victim).unwrap();
    mkfifo(&victim);
    assert_eq!(refused(None), "it is a symbolic link: name the FIFO itself");
    fs::remove_file(&path).unwrap();
    fs::hard_link(&victim, &path).unwrap();
    assert_eq!(refused(Some(to)), "another program has put a different one in its place");
    assert_eq!(uid(), own);
    fs::remove_file(&path).unwrap();
    mkfifo(&path);
    // The rest is root's.
    if chown(&path, Some(54321), None).is_ok() {
        assert_eq!(refused(Some(to)), "another program has put a different one in its place");
        fs::remove_file(&path).unwrap();
        mkfifo(&path);
        take(&path, Some(to)).unwrap();
        let made = fs::metadata(&path).unwrap();
        assert_eq!((made.uid(), made.gid()), (12345, 12345));
    }
}

#[test]
fn one_named_for_both_kinds_gets_both() {
    let fifo = |path: &str| Fifo { path: path.into(), user: None, group: None, reader: None };
    let all = targets(&[fifo("/v"), fifo("/both")], &[fifo("/l"), fifo("/both")]);
    let text: Vec<_> = all.iter().map(|w| format!("{} {:?}", w.fifo.path.display(), w.audiences)).collect();
    assert_eq!(text, ["/v [Vrrp]", "/both [Vrrp, Lvs]", "/l [Lvs]"]);
}
