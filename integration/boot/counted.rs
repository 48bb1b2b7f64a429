//! A guest whose clock counts instructions: Debian's kernel under `qemu-system-x86_64 -icount`, no other process of
//! the host in its time, and idle time skipped. What computing costs can be seen in it, and is the same every time.
//!
//! It has no disk: the host's programs that scenarios need, with their libraries, are its initial file system, and
//! what it says goes over serial lines into the files [`super::guest`] reads. Artefacts stay behind in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::guest::Order;
use super::init::{DIRECTORY, INIT_NAME, SELF_CONTAINED};
use super::interrupt::Running;
use super::scratch::Scratch;
use crate::lab::daemon::lvsd_binary;

/// What executes the guest.
pub(crate) const EMULATOR: &str = "qemu-system-x86_64";
/// The guest's directory, inside it.
const INSIDE: &str = "/lab";
/// Programs of the host that scenarios of this clock execute.
const PROGRAMS: [&str; 7] = ["ip", "modprobe", "keepalived", "ipvsadm", "dmesg", "test", "bash"];
/// Those that only some scenarios execute: they go along where this machine has them.
const OPTIONAL: [&str; 1] = ["time"];
/// A variable with another program that goes along: a keepalived that lvsd is measured against.
pub(crate) const AGAINST: &str = "LVSD_BENCH_AGAINST";
/// Where they are looked for.
const PLACES: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
/// Modules of the kernel that go along: names of directories and files below `kernel/`.
const MODULES: [&str; 7] = [
    "net",
    "lib",
    "crypto",
    "drivers/net/veth.ko",
    "drivers/net/macvlan.ko",
    "drivers/net/dummy.ko",
    "arch/x86/crypto",
];

/// Starts a guest.
///
/// # Errors
/// When something of it cannot be found or written, with the next step.
pub(crate) fn spawn(order: &Order, scratch: &Scratch, kernel: &Path) -> Result<(Running, Child), String> {
    let dir = scratch.path();
    let image = dir.join("initrd");
    write_image(&image, dir, kernel)?;
    // A runner that is killed takes its guests along.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", EMULATOR]);
    command.args(["-accel", "tcg", "-icount", "shift=0,sleep=off", "-cpu", "max", "-smp", "1"]);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    command.arg("-m").arg(format!("{}M", order.memory));
    for name in ["console", "log", "status"] {
        command.arg("-serial").arg(format!("file:{}", dir.join(name).display()));
    }
    command.arg("-kernel").arg(kernel.join("vmlinuz")).arg("-initrd").arg(&image);
    command.arg("-append").arg(format!(
        "console=ttyS0 quiet panic=-1 mitigations=off rdinit=/{INIT_NAME} {SELF_CONTAINED} {DIRECTORY}{INSIDE}"
    ));
    let errors = File::create(dir.join("emulator")).map_err(|e| format!("emulator: {e}"))?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
    Running::start(&mut command, dir).map_err(|e| format!("setpriv {EMULATOR}: {e}"))
}

/// Writes the initial file system: this binary as init, lvsd, the programs, what they link, the kernel's modules.
fn write_image(image: &Path, dir: &Path, kernel: &Path) -> Result<(), String> {
    let own = std::env::current_exe().map_err(|e| format!("this binary: {e}"))?;
    let mut files: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    let mut programs = vec![own.clone(), lvsd_binary()];
    let find = |program: &str| PLACES.iter().map(|p| Path::new(p).join(program)).find(|p| p.is_file());
    for program in PROGRAMS {
        programs
            .push(find(program).ok_or_else(|| format!("no {program} on this machine; run scripts/setup"))?);
    }
    programs.extend(OPTIONAL.into_iter().filter_map(find));
    programs.extend(std::env::var_os(AGAINST).map(PathBuf::from));
    for library in libraries(&programs)?.into_iter().chain(programs) {
        files.insert(library.clone(), library);
    }
    files.insert(Path::new("/").join(INIT_NAME), own);
    for name in ["arguments", "environment"] {
        files.insert(Path::new(INSIDE).join(name), dir.join(name));
    }
    for name in ["/etc/passwd", "/etc/group", "/etc/protocols", "/etc/services", "/etc/nsswitch.conf"] {
        if Path::new(name).is_file() {
            files.insert(name.into(), name.into());
        }
    }
    add_modules(&kernel.join("modules"), &mut files)?;
    let links: [(PathBuf, &str); 5] = [
        (Path::new(INSIDE).join(INIT_NAME), "/lvsd-lab-init"),
        (Path::new(INSIDE).join("log"), "/dev/ttyS1"),
        (Path::new(INSIDE).join("status"), "/dev/ttyS2"),
        (Path::new(INSIDE).join(".keep"), "/dev/null"),
        (Path::new(INSIDE).join("out/.keep"), "/dev/null"),
    ];
    let fail = |e: io::Error| format!("{}: {e}", image.display());
    let mut archive = Archive::create(image).map_err(fail)?;
    for name in ["proc", "sys", "dev", "run", "tmp", "mnt"] {
        archive.directory(Path::new(name)).map_err(fail)?;
    }
    for (place, target) in links {
        archive.link(&place, target).map_err(fail)?;
    }
    for (place, source) in files {
        archive.file(&place, &source).map_err(|e| format!("{}: {e}", source.display()))?;
    }
    archive.end().map_err(fail)
}

/// What these programs are linked to, the loader included, as `ldd` tells.
fn libraries(programs: &[PathBuf]) -> Result<BTreeSet<PathBuf>, String> {
    let output = Command::new("ldd").args(programs).output().map_err(|e| format!("ldd: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let found = text.lines().filter_map(|line| {
        let path = line.split("=>").last()?.split_ascii_whitespace().next()?;
        (path.starts_with('/') && !path.ends_with(':')).then(|| PathBuf::from(path))
    });
    Ok(found.collect())
}

/// The modules that go along, and the lists modprobe reads.
fn add_modules(modules: &Path, files: &mut BTreeMap<PathBuf, PathBuf>) -> Result<(), String> {
    let fail = |path: &Path, e: io::Error| format!("{}: {e}", path.display());
    let version = fs::read_dir(modules)
        .map_err(|e| fail(modules, e))?
        .flatten()
        .next()
        .ok_or_else(|| format!("{}: no modules; remove it, it is fetched again", modules.display()))?;
    let inside = Path::new("/lib/modules").join(version.file_name());
    for entry in fs::read_dir(version.path()).map_err(|e| fail(&version.path(), e))?.flatten() {
        if entry.file_name().to_string_lossy().starts_with("modules.") {
            files.insert(inside.join(entry.file_name()), entry.path());
        }
    }
    let mut todo: Vec<PathBuf> =
        MODULES.iter().map(|m| version.path().join("kernel").join(m)).filter(|m| m.exists()).collect();
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).map_err(|e| fail(&path, e))?;
            todo.extend(entries.flatten().map(|e| e.path()));
        } else if let Ok(relative) = path.strip_prefix(version.path()) {
            files.insert(inside.join(relative), path);
        }
    }
    Ok(())
}

/// An archive as the kernel unpacks it (cpio, "newc").
struct Archive {
    out: BufWriter<File>,
    known: BTreeSet<PathBuf>,
    number: u32,
}

impl Archive {
    fn create(path: &Path) -> io::Result<Archive> {
        Ok(Archive { out: BufWriter::new(File::create(path)?), known: BTreeSet::new(), number: 0 })
    }

    fn directory(&mut self, path: &Path) -> io::Result<()> {
        let path = path.strip_prefix("/").unwrap_or(path).to_owned();
        if path.as_os_str().is_empty() || !self.known.insert(path.clone()) {
            return Ok(());
        }
        self.parents(&path)?;
        self.entry(&path, 0o040_755, &[])
    }

    fn link(&mut self, path: &Path, target: &str) -> io::Result<()> {
        self.parents(path)?;
        self.entry(path, 0o120_777, target.as_bytes())
    }

    /// A file with its content; a link of the host's is followed, as programs look for the name.
    fn file(&mut self, path: &Path, source: &Path) -> io::Result<()> {
        self.parents(path)?;
        let mode = 0o100_000 | (fs::metadata(source)?.permissions().mode() & 0o777);
        self.entry(path, mode, &fs::read(source)?)
    }

    fn end(mut self) -> io::Result<()> {
        self.entry(Path::new("TRAILER!!!"), 0, &[])?;
        self.out.flush()
    }

    fn parents(&mut self, path: &Path) -> io::Result<()> {
        match path.parent() {
            Some(parent) => self.directory(parent),
            None => Ok(()),
        }
    }

    fn entry(&mut self, path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
        let name = path.strip_prefix("/").unwrap_or(path).to_string_lossy().into_owned();
        self.number += 1;
        let size = u32::try_from(content.len()).map_err(io::Error::other)?;
        let name_size = u32::try_from(name.len() + 1).map_err(io::Error::other)?;
        let fields = [self.number, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, name_size, 0];
        write!(self.out, "070701")?;
        for field in fields {
            write!(self.out, "{field:08X}")?;
        }
        // Name and content each end at a multiple of four; the header has 110 bytes.
        let pad = |n: usize| vec![0; n.next_multiple_of(4) - n];
        self.out.write_all(name.as_bytes())?;
        self.out.write_all(&[0])?;
        self.out.write_all(&pad(110 + name.len() + 1))?;
        self.out.write_all(content)?;
        self.out.write_all(&pad(content.len()))
    }
}
