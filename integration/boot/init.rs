//! The guest's first process: a writable root over the host's read-only one, then the job, then power off.
//!
//! The kernel starts this binary by the symbolic link [`INIT_NAME`] in the guest's directory. Nothing here may
//! leave the guest running: every error ends in power off, and an own limit catches a runner that died.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_move, unmount};
use rustix::process::WaitOptions;
use rustix::system::RebootCommand;

/// The name under which the kernel starts this binary.
pub(crate) const INIT_NAME: &str = "lvsd-lab-init";

/// The word of the kernel's command line that names the guest's directory.
pub(crate) const DIRECTORY: &str = "lvsd.lab=";

/// The word that limits the guest's life, in its own seconds; without it there is no limit.
pub(crate) const LIMIT: &str = "lvsd.limit=";

/// The word that says that the guest has all its files, and nothing of the host's is below its root.
pub(crate) const SELF_CONTAINED: &str = "lvsd.self-contained";

/// How much longer than the runner's limit the guest lives when the runner no longer watches.
const GRACE: Duration = Duration::from_secs(15);
/// Where Debian's user-mode-linux keeps its modules; a link or a bind from /lib/modules is not its business.
const MODULES: &str = "/usr/lib/uml/modules";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Whether this process is a guest's init.
pub(crate) fn is_init() -> bool {
    std::process::id() == 1
        && std::env::args_os().next().is_some_and(|a| Path::new(&a).file_name() == Some(INIT_NAME.as_ref()))
}

/// Runs the job and powers off.
pub(crate) fn run() -> ! {
    if let Err(message) = run_job() {
        eprintln!("lab init: {message}");
    }
    rustix::fs::sync();
    let _ = rustix::system::reboot(RebootCommand::PowerOff);
    // The kernel panics when process 1 ends, and panic=-1 ends the guest: a way out either way.
    std::process::exit(1);
}

fn run_job() -> Result<(), String> {
    // Before these mounts the guest sees the host's own /proc and /sys through its root: nothing may be
    // read from there earlier.
    file_system("proc", "/proc", "")?;
    let line = fs::read_to_string("/proc/cmdline").map_err(|e| format!("/proc/cmdline: {e}"))?;
    let word = |key: &str| line.split_ascii_whitespace().find_map(|w| w.strip_prefix(key));
    let dir = word(DIRECTORY).ok_or("no lvsd.lab= on the kernel's command line")?.to_owned();
    let limit = word(LIMIT).and_then(|l| l.parse().ok()).map(Duration::from_secs);
    let terminal = line.split_ascii_whitespace().any(|w| w == "lvsd.terminal");
    if let Some(limit) = limit {
        std::thread::spawn(move || {
            std::thread::sleep(limit + GRACE);
            let _ = rustix::system::reboot(RebootCommand::PowerOff);
        });
    }
    if line.split_ascii_whitespace().any(|w| w == SELF_CONTAINED) {
        own_root()?
    } else {
        writable_root(&dir)?
    }
    let status = job(Path::new(&dir), terminal)?;
    fs::write(Path::new(&dir).join("status"), format!("{status}\n")).map_err(|e| format!("status: {e}"))
}

/// An overlay on tmpfs over the host's root becomes the root; the guest's directory is mounted in its place.
fn writable_root(dir: &str) -> Result<(), String> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let modules = format!("{MODULES}/{release}");
    file_system("tmpfs", "/mnt", "size=60%")?;
    for part in ["up", "work", "new"] {
        fs::create_dir(format!("/mnt/{part}")).map_err(|e| format!("/mnt/{part}: {e}"))?;
    }
    let known = fs::read_to_string("/proc/filesystems").map_err(|e| format!("/proc/filesystems: {e}"))?;
    if !known.split_ascii_whitespace().any(|f| f == "overlay") {
        insert(&format!("{modules}/kernel/fs/overlayfs/overlay.ko"))?;
    }
    file_system("overlay", "/mnt/new", "lowerdir=/,upperdir=/mnt/up,workdir=/mnt/work")?;
    mount_move("/proc", "/mnt/new/proc").map_err(|e| format!("moving /proc: {e}"))?;
    std::env::set_current_dir("/mnt/new").map_err(|e| format!("/mnt/new: {e}"))?;
    kernels_own()?;
    if Path::new(&modules).is_dir() {
        // An empty directory of that name on the host would hide the modules: bind them over it.
        let place = format!("lib/modules/{release}");
        fs::create_dir_all(&place).map_err(|e| format!("{place}: {e}"))?;
        mount_bind(format!(".{modules}"), &place).map_err(|e| format!("{place}: {e}"))?;
    }
    file_system("hostfs", &format!(".{dir}"), dir)?;
    rustix::process::pivot_root(".", "run/old").map_err(|e| format!("pivot_root: {e}"))?;
    std::env::set_current_dir("/").map_err(|e| format!("/: {e}"))?;
    unmount("/run/old", UnmountFlags::DETACH).map_err(|e| format!("/run/old: {e}"))?;
    named()
}

/// The initial file system stays the root.
fn own_root() -> Result<(), String> {
    std::env::set_current_dir("/").map_err(|e| format!("/: {e}"))?;
    kernels_own()?;
    named()
}

/// The file systems the kernel makes, below the working directory; /proc is there.
fn kernels_own() -> Result<(), String> {
    file_system("sysfs", "sys", "")?;
    file_system("devtmpfs", "dev", "")?;
    for part in ["dev/pts", "dev/shm"] {
        fs::create_dir_all(part).map_err(|e| format!("{part}: {e}"))?;
    }
    file_system("devpts", "dev/pts", "")?;
    file_system("tmpfs", "dev/shm", "")?;
    file_system("tmpfs", "run", "mode=755")?;
    for part in ["run/lock", "run/netns", "run/old"] {
        fs::create_dir(part).map_err(|e| format!("{part}: {e}"))?;
    }
    Ok(())
}

/// A name for the guest, and names it can look up.
fn named() -> Result<(), String> {
    // Programs look their own name up; without a line for it they wait for a name server that is not there.
    fs::write("/etc/hosts", "127.0.0.1 localhost lab\n::1 localhost lab\n")
        .map_err(|e| format!("/etc/hosts: {e}"))?;
    rustix::system::sethostname(b"lab").map_err(|e| format!("host name: {e}"))
}

/// Runs the job to its end, reaping all that it leaves, and answers its exit status.
fn job(dir: &Path, terminal: bool) -> Result<i32, String> {
    let read = |name: &str| fs::read_to_string(dir.join(name)).map_err(|e| format!("{name}: {e}"));
    let arguments = read("arguments")?;
    let environment = read("environment")?;
    let mut command = Command::new(dir.join(INIT_NAME));
    command.args(arguments.lines()).env_clear();
    command.env("PATH", PATH).env("HOME", "/root").env("TERM", "dumb").env("LAB_DIR", dir);
    command.envs(environment.lines().filter_map(|l| l.split_once('=')));
    let open = |path: &Path| {
        OpenOptions::new().read(true).append(true).open(path).map_err(|e| format!("{}: {e}", path.display()))
    };
    if terminal {
        let tty = open(Path::new("/dev/tty0"))?;
        let copy = || tty.try_clone().map_err(|e| format!("/dev/tty0: {e}"));
        command.stdin(copy()?).stdout(copy()?).stderr(copy()?);
    } else {
        let log = open(&dir.join("log"))?;
        let copy = log.try_clone().map_err(|e| format!("log: {e}"))?;
        command.stdin(Stdio::null()).stdout(copy).stderr(log);
    }
    let child = command.spawn().map_err(|e| format!("job: {e}"))?;
    let job = i32::try_from(child.id()).map_err(|e| format!("job: {e}"))?;
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid.as_raw_nonzero().get() == job => {
                return Ok(status
                    .exit_status()
                    .unwrap_or_else(|| 128 + status.terminating_signal().unwrap_or(0)));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(format!("waiting for the job: {e}")),
        }
    }
}

fn insert(path: &str) -> Result<(), String> {
    let file = File::open(path).map_err(|e| format!("{path}: {e}"))?;
    rustix::system::finit_module(&file, c"", 0).map_err(|e| format!("{path}: {e}"))
}

fn file_system(kind: &str, place: &str, options: &str) -> Result<(), String> {
    let options = CString::new(options).map_err(|e| format!("{place}: {e}"))?;
    mount(kind, place, kind, MountFlags::empty(), options.as_c_str())
        .map_err(|e| format!("{kind} on {place}: {e}"))?;
    Ok(())
}
