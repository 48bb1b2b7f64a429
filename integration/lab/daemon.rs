//! Daemons under test, and beside it: lvsd, keepalived, nginx, in a host, with a log that can be waited on.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::host::Host;
use super::wait::{seconds, wait_for};
use super::{Lab, Verdict};

/// Numbers the daemons of a guest, so that a restart does not overwrite the log before it.
static NEXT: AtomicU32 = AtomicU32::new(0);

/// What lvsd logs once the kernel's table is the configuration's. The blank keeps "already" out.
pub(crate) const READY: &str = " ready: ";

/// A running daemon; killed when dropped.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
}

/// How a program that was run to its end ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finished {
    /// Exit code; None when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

/// The lvsd under test: `LVSD_LAB_DAEMON`, or the one cargo built beside this lab.
pub(crate) fn lvsd_binary() -> PathBuf {
    std::env::var_os("LVSD_LAB_DAEMON")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_lvsd")), PathBuf::from)
}

/// The run directory of a host's lvsd: the same for every start, as in /run on a real director.
pub(crate) fn run_dir(host: &Host) -> String {
    format!("/run/lvsd-{}", host.name())
}

/// The PID file of a part of a host's keepalived: `parent`, `checkers`, `vrrp`.
pub(crate) fn pid_file(host: &Host, part: &str) -> String {
    format!("/run/keepalived-{}.{part}.pid", host.name())
}

/// The control socket in a run directory.
pub(crate) fn control(run_dir: &str) -> String {
    format!("{run_dir}/control.sock")
}

/// Writes the configuration file of a host's lvsd; [`Daemon::reload`] makes it read the file again.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn configure(lab: &Lab, host: &Host, text: &str) -> Result<PathBuf, String> {
    lab.write(&format!("{}.conf", host.name()), text)
}

/// What `lvsd run` is given to direct by this file.
pub(crate) fn lvsd_arguments<'a>(command: &'a mut Command, file: &Path, run_dir: &str) -> &'a mut Command {
    command.arg("run").arg("-c").arg(file).args(["--run-dir", run_dir, "--control", &control(run_dir)])
}

/// What keepalived is given to run by this file in the foreground, with PID files of its own.
pub(crate) fn keepalived_arguments<'a>(
    command: &'a mut Command,
    host: &Host,
    file: &Path,
) -> &'a mut Command {
    command.args(["-n", "-l", "-D", "-f"]).arg(file);
    for (option, part) in [("-p", "parent"), ("-c", "checkers"), ("-r", "vrrp"), ("-b", "bfd")] {
        let place = pid_file(host, part);
        // A killed daemon left its PID file; another process that has this number now would pass for it.
        let _ = fs::remove_file(&place);
        command.arg(option).arg(place);
    }
    command
}

impl Daemon {
    /// Starts a command in a host; stdout and stderr go to `NAME-N.log` among the artefacts.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(lab: &Lab, host: &Host, name: &str, command: &mut Command) -> Result<Daemon, String> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let log = lab.out().join(format!("{}-{name}-{number}.log", host.name()));
        let file = File::create(&log).map_err(|e| format!("{}: {e}", log.display()))?;
        let copy = file.try_clone().map_err(|e| format!("{}: {e}", log.display()))?;
        command.stdin(Stdio::null()).stdout(copy).stderr(file);
        let child = host.start(command)?;
        Ok(Daemon { child, log })
    }

    /// Starts `lvsd run` with this configuration file, run directory and more arguments, and does not wait.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start_lvsd(
        lab: &Lab,
        host: &Host,
        file: &Path,
        run_dir: &str,
        more: &[&str],
    ) -> Result<Daemon, String> {
        let mut command = Command::new(lvsd_binary());
        Daemon::start(lab, host, "lvsd", lvsd_arguments(&mut command, file, run_dir).args(more))
    }

    /// Starts `lvsd run` with this configuration and waits until it says that it is ready.
    ///
    /// # Errors
    /// When it is not ready within 30 seconds.
    pub(crate) fn lvsd(lab: &Lab, host: &Host, configuration: &str) -> Result<Daemon, String> {
        let file = configure(lab, host, configuration)?;
        let mut daemon = Daemon::start_lvsd(lab, host, &file, &run_dir(host), &[])?;
        daemon.wait_log(READY, seconds(30))?;
        Ok(daemon)
    }

    /// Starts Debian's keepalived with this configuration, in the foreground, with PID files of its own.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn keepalived(lab: &Lab, host: &Host, configuration: &str) -> Result<Daemon, String> {
        let file = lab.write(&format!("{}.keepalived.conf", host.name()), configuration)?;
        Daemon::keepalived_with(lab, host, &file)
    }

    /// Starts Debian's keepalived with this configuration file, in the foreground, with PID files of its own.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn keepalived_with(lab: &Lab, host: &Host, file: &Path) -> Result<Daemon, String> {
        let mut command = Command::new("keepalived");
        Daemon::start(lab, host, "keepalived", keepalived_arguments(&mut command, host, file))
    }

    /// Starts nginx on these addresses (`10.1.0.21:8080`); it answers everything with `nginx` and its host's name.
    ///
    /// # Errors
    /// When it does not come up.
    pub(crate) fn nginx(lab: &Lab, host: &Host, listen: &[&str]) -> Result<Daemon, String> {
        let listen: String = listen.iter().map(|l| format!("listen {l};\n")).collect();
        let name = host.name();
        let server = format!("server {{\n{listen}location / {{ return 200 \"nginx {name}\\n\"; }} }}");
        Daemon::nginx_with(lab, host, &format!("access_log off;\n{server}"))
    }

    /// Starts nginx with this in its block `http`.
    ///
    /// # Errors
    /// When it does not come up.
    pub(crate) fn nginx_with(lab: &Lab, host: &Host, http: &str) -> Result<Daemon, String> {
        let name = host.name();
        let dir = format!("/run/nginx-{name}");
        fs::create_dir_all(&dir).map_err(|e| format!("{dir}: {e}"))?;
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {dir}/{kind};\n"))
            .concat();
        let text = format!(
            "daemon off; worker_processes 1; pid {dir}/pid; error_log stderr crit;\n\
             events {{ worker_connections 256; }}\n\
             http {{ {temporary}{http} }}\n"
        );
        let file = lab.write(&format!("{name}.nginx.conf"), &text)?;
        // One before it may have been killed, and left its own.
        let _ = fs::remove_file(format!("{dir}/pid"));
        let mut command = Command::new("nginx");
        command.args(["-e", "stderr", "-p", &dir, "-c"]).arg(file);
        let daemon = Daemon::start(lab, host, "nginx", &mut command)?;
        wait_for("nginx is up", seconds(10), || {
            fs::read_to_string(format!("{dir}/pid")).map(drop).map_err(|_| daemon.log_text())
        })?;
        Ok(daemon)
    }

    /// What it has logged so far.
    pub(crate) fn log_text(&self) -> String {
        fs::read(&self.log).map_or_else(|_| String::new(), |b| String::from_utf8_lossy(&b).into_owned())
    }

    /// Waits until its log contains these words.
    ///
    /// # Errors
    /// At the deadline, or when it ends before, with the log's end.
    pub(crate) fn wait_log(&mut self, words: &str, deadline: Duration) -> Verdict {
        wait_for(&format!("the log says {words:?}"), deadline, || {
            let text = self.log_text();
            if text.contains(words) {
                return Ok(Ok(()));
            }
            match self.child.try_wait() {
                Ok(Some(status)) => {
                    Ok(Err(format!("it ended before it said {words:?}: {status}\n{}", end_of(&text))))
                }
                _ => Err(end_of(&text)),
            }
        })?
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When there is no such process any more.
    pub(crate) fn signal(&self, signal: Signal) -> Verdict {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).ok_or("no process id")?;
        kill_process(pid, signal).map_err(|e| format!("signal: {e}"))
    }

    /// SIGHUP, for a configuration that was written anew.
    ///
    /// # Errors
    /// When there is no such process any more.
    pub(crate) fn reload(&self) -> Verdict {
        self.signal(Signal::HUP)
    }

    /// Ends it by a signal and checks that it exits with 0 within 15 seconds.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) fn end(mut self, signal: Signal) -> Verdict {
        self.signal(signal)?;
        let code = self.wait_exit(seconds(15))?;
        super::same("exit code", &code, &0)
    }

    /// Has it hand over by `lvsd handover`, and checks that it has ended with 0 when the command has.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) fn hand_over(mut self) -> Verdict {
        let path = format!("/proc/{}/cmdline", self.child.id());
        let line = fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
        let words: Vec<&str> = line.split('\0').collect();
        let value = |option| words.iter().skip_while(|word| **word != option).nth(1).copied();
        let mut command = Command::new(lvsd_binary());
        command.args(["handover", "--force"]);
        for option in ["--run-dir", "--control"] {
            command.arg(option).arg(value(option).ok_or_else(|| format!("no {option}: {words:?}"))?);
        }
        let output = command.stdin(Stdio::null()).output().map_err(|e| format!("lvsd handover: {e}"))?;
        if !output.status.success() {
            return Err(format!("lvsd handover: {output:?}\n{}", end_of(&self.log_text())));
        }
        let code = self.wait_exit(seconds(1))?;
        super::same("exit code", &code, &0)
    }

    /// Its resident memory in KiB.
    ///
    /// # Errors
    /// When it does not run any more.
    pub(crate) fn memory(&self) -> Result<u64, String> {
        let path = format!("/proc/{}/status", self.child.id());
        let text = fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
        let line = text.lines().find_map(|l| l.strip_prefix("VmRSS:"));
        let number = line.and_then(|l| l.split_ascii_whitespace().next()).and_then(|n| n.parse().ok());
        number.ok_or_else(|| format!("{path}: no VmRSS"))
    }

    /// Waits for its end and answers the exit code.
    ///
    /// # Errors
    /// At the deadline, or when a signal ended it.
    pub(crate) fn wait_exit(&mut self, deadline: Duration) -> Result<i32, String> {
        let log = end_of(&self.log_text());
        let status = wait_for("the daemon ends", deadline, || match self.child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err(log.clone()),
            Err(e) => Err(e.to_string()),
        })?;
        status.code().ok_or_else(|| format!("ended by a signal: {status}"))
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// SIGKILL, and waits for its end.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub(crate) fn kill(mut self) -> Result<ExitStatus, String> {
        self.child.kill().and_then(|()| self.child.wait()).map_err(|e| format!("kill: {e}"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last lines of a log; all of it is among the artefacts.
fn end_of(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines.into_iter().rev().take(12).rev().collect::<Vec<_>>().join("\n")
}

/// Runs `lvsd` in a host to its end.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn lvsd(host: &Host, arguments: &[&str]) -> Result<Finished, String> {
    let output = host.enter(|| {
        Command::new(lvsd_binary())
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .map_err(|e| format!("lvsd: {e}"))
    })?;
    Ok(Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// `lvsd status --json` of a host's lvsd.
///
/// # Errors
/// When it fails or answers no JSON.
pub(crate) fn status(host: &Host) -> Result<serde_json::Value, String> {
    let finished = lvsd(host, &["status", "--json", "--control", &control(&run_dir(host))])?;
    serde_json::from_str(&finished.stdout).map_err(|e| format!("lvsd status: {e}: {finished:?}"))
}

/// Process ids of all processes of this name in the guest.
///
/// # Errors
/// When /proc cannot be read.
pub(crate) fn processes(name: &str) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").map_err(|e| format!("/proc: {e}"))?.flatten() {
        let comm = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        let id = entry.file_name().to_string_lossy().into_owned();
        if comm.trim_end() == name && id.bytes().all(|b| b.is_ascii_digit()) {
            found.push(id);
        }
    }
    Ok(found)
}
