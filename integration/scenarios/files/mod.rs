//! Files that hang, and a run directory that others spoil: reading a configuration ends with an error that names what
//! does not answer, at a start as at a reload, and the next reload does not wait for it; a run directory that is full,
//! read-only, another user's or deleted is reported as such; a request to a stopped daemon is dropped when its client
//! no longer waits for it any more.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{chown, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::process::Signal;

use crate::lab::daemon::{Daemon, READY, configure, control, lvsd, run_dir};
use crate::lab::host::Host;
use crate::lab::judge;
use crate::lab::topology::Topology;
use crate::lab::wait::{seconds, wait_for};
use crate::lab::{Lab, Verdict, claim, same};

const CONF: &str = include_str!("keepalived.conf");
const SILENCE: &str = "its file system has not answered within 6 seconds";

pub(super) fn run(lab: &mut Lab) -> Verdict {
    let mut topology = Topology::new(&["front"]);
    topology.host("d1").plug("d1", "eth0", "front", &["10.1.0.11/24"]);
    lab.build(&topology)?;
    let host = lab.host("d1")?;
    if judge::run(&["modprobe", "fuse"]).is_err() {
        return lab.skip("this kernel has no file system that can be made to hang");
    }
    let hung = Hung::mount(&lab.out().join("hung"))?;
    let hanging = format!("include {}/servers.conf\n{CONF}", hung.folder.display());
    let run_dir = run_dir(&host);

    lab.step("a start waits for no file system, and hears that it is to end");
    let file = configure(lab, &host, &hanging)?;
    let mut told = Daemon::start_lvsd(lab, &host, &file, &run_dir, &[])?;
    told.wait_log("reading ", seconds(10))?;
    told.signal(Signal::TERM)?;
    same("exit code", &told.wait_exit(seconds(4))?, &0)?;
    let mut waits = Daemon::start_lvsd(lab, &host, &file, &run_dir, &[])?;
    let checked = lvsd(&host, &["check", "-c", &file.to_string_lossy()])?;
    same("exit code of a check", &checked.code, &Some(78))?;
    same("exit code of the start, which is tried again", &waits.wait_exit(seconds(10))?, &75)?;
    for said in [checked.stdout, waits.log_text()] {
        claim(said.contains("d1.conf:1:9") && said.contains(SILENCE), || said.clone())?;
    }

    lab.step("a reload ends, and the next one is not its hostage");
    let mut daemon = Daemon::lvsd(lab, &host, CONF)?;
    configure(lab, &host, &hanging)?;
    let reload = || lvsd(&host, &["reload", "--control", &control(&run_dir)]);
    let rejected = reload()?;
    same("exit code", &rejected.code, &Some(78))?;
    claim(rejected.stderr.contains(SILENCE), || format!("{rejected:?}"))?;
    let fifo = lab.out().join("fifo.conf");
    judge::run(&["mkfifo", &fifo.to_string_lossy()])?;
    configure(lab, &host, &format!("include {}\n{CONF}", fifo.display()))?;
    let rejected = reload()?;
    same("exit code of a FIFO", &rejected.code, &Some(78))?;
    claim(rejected.stderr.contains("is a pipe (FIFO), not a regular file"), || format!("{rejected:?}"))?;
    configure(lab, &host, CONF)?;
    same("exit code of a good file", &reload()?.code, &Some(0))?;
    drop(hung);

    lab.step("a deleted run directory is there again");
    fs::remove_dir_all(&run_dir).map_err(|e| format!("{run_dir}: {e}"))?;
    daemon.wait_log("it is made anew", seconds(15))?;
    wait_for("lvsd answers", seconds(5), || {
        let status = lvsd(&host, &["status", "--control", &control(&run_dir)]).map_err(|e| e.clone())?;
        if status.code == Some(0) { Ok(()) } else { Err(format!("{status:?}")) }
    })?;
    for name in ["lvsd.pid", "state.json"] {
        claim(Path::new(&run_dir).join(name).exists(), || format!("{name} is there"))?;
    }

    lab.step("what was asked of a stopped daemon is dropped when its client has gone");
    let reloads = daemon.log_text().matches("reading ").count();
    daemon.signal(Signal::STOP)?;
    let mut client = UnixStream::connect(control(&run_dir)).map_err(|e| e.to_string())?;
    let request = b"{\"command\":{\"reload\":{\"allow_removal\":false}}}\n";
    client.write_all(request).map_err(|e| e.to_string())?;
    drop(client);
    daemon.signal(Signal::CONT)?;
    daemon.wait_log("its client waits no longer", seconds(5))?;
    same("reloads", &daemon.log_text().matches("reading ").count(), &reloads)?;
    daemon.end(Signal::TERM)?;

    spoiled(lab, &host)
}

/// Unusable run directories.
fn spoiled(lab: &mut Lab, host: &Host) -> Verdict {
    let folder = lab.out().join("spoiled");
    fs::create_dir_all(&folder).map_err(|e| e.to_string())?;
    let at = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let file = configure(lab, host, CONF)?;

    lab.step("a read-only run directory is tried again, a full one does not stop the director");
    let tmpfs = |name: &str, flags, options: &str| {
        let path = at(name);
        fs::create_dir_all(&path).map_err(|e| format!("{path}: {e}"))?;
        let options = CString::new(options).map_err(|e| e.to_string())?;
        mount("tmpfs", &path, "tmpfs", flags, Some(options.as_c_str()))
            .map_err(|e| format!("{path}: {e}"))?;
        Ok::<String, String>(path)
    };
    let path = tmpfs("read-only", MountFlags::RDONLY, "mode=0755")?;
    let mut refused = Daemon::start_lvsd(lab, host, &file, &path, &[])?;
    same("exit code", &refused.wait_exit(seconds(10))?, &75)?;
    unmount(&path, UnmountFlags::empty()).map_err(|e| format!("{path}: {e}"))?;
    let path = tmpfs("full", MountFlags::empty(), "size=4k,mode=0755")?;
    fs::write(Path::new(&path).join("others"), [0; 4096]).map_err(|e| e.to_string())?;
    let mut daemon = Daemon::start_lvsd(lab, host, &file, &path, &[])?;
    daemon.wait_log(READY, seconds(10))?;
    claim(daemon.log_text().contains("No space left on device"), || daemon.log_text())?;
    daemon.end(Signal::TERM)?;
    unmount(&path, UnmountFlags::empty()).map_err(|e| format!("{path}: {e}"))?;

    lab.step("a run directory of another user, and a lock that leads elsewhere, are refused");
    let theirs = at("theirs");
    fs::create_dir(&theirs).and_then(|()| chown(&theirs, Some(65_534), None)).map_err(|e| e.to_string())?;
    let mut refused = Daemon::start_lvsd(lab, host, &file, &theirs, &[])?;
    same("exit code", &refused.wait_exit(seconds(10))?, &77)?;
    let (laid, victim) = (at("laid"), at("victim"));
    fs::create_dir(&laid).and_then(|()| fs::write(&victim, "precious")).map_err(|e| e.to_string())?;
    symlink(&victim, Path::new(&laid).join("lvsd.pid")).map_err(|e| e.to_string())?;
    let mut refused = Daemon::start_lvsd(lab, host, &file, &laid, &[])?;
    same("exit code", &refused.wait_exit(seconds(10))?, &69)?;
    same(
        "the file it leads to",
        &fs::read_to_string(&victim).map_err(|e| e.to_string())?,
        &"precious".to_owned(),
    )
}

/// A file system whose server answers nothing.
struct Hung {
    folder: PathBuf,
    /// No process reads the kernel's requests; once it is closed the kernel answers itself.
    _server: File,
}

impl Hung {
    fn mount(folder: &Path) -> Result<Hung, String> {
        fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let server = OpenOptions::new().read(true).write(true).open("/dev/fuse");
        let server = server.map_err(|e| format!("/dev/fuse: {e}"))?;
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", server.as_raw_fd());
        let options = CString::new(options).map_err(|e| e.to_string())?;
        mount("hung", folder, "fuse", MountFlags::empty(), Some(options.as_c_str()))
            .map_err(|e| format!("{}: {e}", folder.display()))?;
        Ok(Hung { folder: folder.to_owned(), _server: server })
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        // A process that waits in it waits until the server is closed, which comes after this.
        let _ = unmount(&self.folder, UnmountFlags::DETACH);
    }
}
