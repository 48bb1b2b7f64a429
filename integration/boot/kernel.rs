//! The kernels a guest may boot, and the clocks that go with them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::counted::EMULATOR;

/// The clock a guest lives by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Clock {
    /// Computing takes no time and waiting is skipped: exact, and deaf to what else the host does. What never
    /// waits and only looks at the clock (256 ns a look) stands still.
    Simulated,
    /// The host's clock, on Debian's kernel.
    Real,
    /// One nanosecond an instruction, and idle time skipped, on Debian's own kernel under an emulator: what computing
    /// costs is in it, and nothing of what else the host does.
    Counted,
}

/// Debian's user-mode-linux.
const DEBIANS: &str = "/usr/bin/linux.uml";

/// Whether everything is to run in real time: `LVSD_LAB_TIME=real`.
///
/// # Errors
/// When the variable says something else.
pub(crate) fn is_all_real() -> Result<bool, String> {
    match std::env::var("LVSD_LAB_TIME").as_deref() {
        Err(_) | Ok("") => Ok(false),
        Ok("real") => Ok(true),
        Ok(other) => Err(format!("LVSD_LAB_TIME={other}: it can be \"real\", or not be set")),
    }
}

/// The kernel to boot: for simulated time the lab's own, for real time `LVSD_LAB_KERNEL` or Debian's.
///
/// # Errors
/// A sentence with the next step when there is none.
pub(crate) fn find(clock: Clock) -> Result<PathBuf, String> {
    static OWN: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match clock {
        Clock::Simulated => OWN.get_or_init(own).clone(),
        Clock::Real => {
            let path =
                std::env::var_os("LVSD_LAB_KERNEL").map_or_else(|| PathBuf::from(DEBIANS), PathBuf::from);
            match path.metadata() {
                Ok(meta) if meta.is_file() => Ok(path),
                _ => Err(format!("{}: no such kernel; run scripts/setup", path.display())),
            }
        }
        Clock::Counted => {
            let version = Command::new(EMULATOR).arg("--version").stdout(Stdio::null()).status();
            if !version.is_ok_and(|s| s.success()) {
                return Err(format!("no {EMULATOR}; run scripts/setup -a"));
            }
            printed("scripts/debian-kernel")
                .filter(|p| p.is_dir())
                .ok_or_else(|| "no kernel for counted time: scripts/debian-kernel failed".to_owned())
        }
    }
}

/// The path one of our scripts prints, when it ends well.
fn printed(script: &str) -> Option<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
    let output = Command::new(&script).stdin(Stdio::null()).stderr(Stdio::inherit()).output().ok()?;
    output.status.success().then(|| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end()))
}

/// The kernel `scripts/build-kernel` keeps, built now where it is not there yet.
fn own() -> Result<PathBuf, String> {
    if let Some(path) = printed("scripts/build-kernel").filter(|p| p.is_file()) {
        return Ok(path);
    }
    Err("no kernel for simulated time: scripts/build-kernel failed. \
         LVSD_LAB_TIME=real runs everything in real time, on Debian's kernel"
        .to_owned())
}
