//! An interactive shell on a host of the lab.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::termios::{Winsize, tcsetwinsize};

use super::daemon::run_dir;
use super::host::Host;
use super::{Lab, Verdict};

/// Makes the guest's console this process's terminal, of the size the operator's has.
///
/// # Errors
/// When there is no such terminal.
pub(crate) fn take_terminal() -> Verdict {
    rustix::process::setsid().map_err(|e| format!("session: {e}"))?;
    rustix::process::ioctl_tiocsctty(io::stdin()).map_err(|e| format!("terminal: {e}"))?;
    let number = |name: &str| std::env::var(name).ok().and_then(|v| v.parse::<u16>().ok());
    if let (Some(ws_row), Some(ws_col)) = (number("LAB_ROWS"), number("LAB_COLUMNS")) {
        let size = Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(io::stdin(), size).map_err(|e| format!("terminal: {e}"))?;
    }
    Ok(())
}

/// Runs a shell on a host until the operator leaves it.
///
/// # Errors
/// When there is no bash.
pub(crate) fn run(lab: &Lab, on: &str) -> Verdict {
    let host = lab.host(on)?;
    usual_places(lab, &host)?;
    println!(
        "
A shell on the director {on}, in a kernel of its own: nothing you do here outlives it.
  hosts     c (client)  r (router)  d1 d2 (directors)  rs1 rs2 rs3 (real servers)  sorry
  look      ipvsadm -Ln      ip -br addr      ip -n rs1 -br addr
  elsewhere ip netns exec c curl http://10.1.0.100/
  lvsd      lvsd status      lvsd why 10.1.0.21      lvsd plan      lvsd --help
  leave     exit, or Ctrl-D
"
    );
    let mut command = Command::new("bash");
    command.args(["--norc", "-i"]);
    command.env("PS1", format!("root@{on} \\w # "));
    let binaries = super::daemon::lvsd_binary();
    if let (Some(dir), Ok(path)) = (binaries.parent(), std::env::var("PATH")) {
        command.env("PATH", format!("{}:{path}", dir.display()));
    }
    host.start(&mut command)?.wait().map_err(|e| format!("bash: {e}"))?;
    Ok(())
}

/// Puts what belongs to this host's lvsd where commands look by default.
///
/// # Errors
/// When the guest's files cannot be written.
pub(crate) fn usual_places(lab: &Lab, host: &Host) -> Verdict {
    let places = [
        (PathBuf::from(run_dir(host)), Path::new("/run/lvsd")),
        (lab.out().join(format!("{}.conf", host.name())), Path::new("/etc/keepalived/keepalived.conf")),
    ];
    for (own, usual) in places.iter().filter(|(own, _)| own.exists()) {
        let folder = usual.parent().unwrap_or(usual);
        let linked = fs::create_dir_all(folder).and_then(|()| {
            // Debian's example, or what another part of the lab left.
            let _ = fs::remove_file(usual);
            symlink(own, usual)
        });
        linked.map_err(|e| format!("{}: {e}", usual.display()))?;
    }
    Ok(())
}
