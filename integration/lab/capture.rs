//! Packets, as tcpdump sees them, kept as an artefact.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::{fs, fs::File};

use rustix::process::{Pid, Signal, kill_process};

use super::host::Host;
use super::wait::{seconds, wait_for};
use super::{Lab, judge};

/// A running capture.
#[derive(Debug)]
pub(crate) struct Capture {
    child: Child,
    file: PathBuf,
}

impl Capture {
    /// Starts one on an interface of a host and waits until it sees packets.
    ///
    /// # Errors
    /// When tcpdump does not start listening.
    pub(crate) fn start(lab: &Lab, host: &Host, interface: &str, filter: &str) -> Result<Capture, String> {
        let file = lab.out().join(format!("{}-{interface}.pcap", host.name()));
        let log = file.with_extension("tcpdump");
        let stderr = File::create(&log).map_err(|e| format!("{}: {e}", log.display()))?;
        let mut command = Command::new("tcpdump");
        command
            .args(["-Z", "root", "--immediate-mode", "-U", "-n", "-i", interface, "-w"])
            .arg(&file)
            .arg(filter);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let child = host.start(&mut command)?;
        let capture = Capture { child, file };
        wait_for("tcpdump is listening", seconds(10), || {
            let said = fs::read_to_string(&log).unwrap_or_default();
            if said.contains("listening on") { Ok(()) } else { Err(said) }
        })?;
        Ok(capture)
    }

    /// Waits until a line of the capture contains these words, stops, and answers all lines.
    ///
    /// # Errors
    /// At the deadline of 5 seconds, or when tcpdump cannot read its own capture.
    pub(crate) fn stop_after(mut self, words: &str) -> Result<Vec<String>, String> {
        let file = self.file.to_string_lossy().into_owned();
        wait_for(&format!("a packet {words:?}"), seconds(5), || {
            // A capture that is being written may end within a packet.
            let text = judge::run(&["tcpdump", "-n", "-t", "-r", &file])?;
            if text.contains(words) { Ok(()) } else { Err(text) }
        })?;
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::INT).map_err(|e| format!("tcpdump: {e}"))?;
        }
        self.child.wait().map_err(|e| format!("tcpdump: {e}"))?;
        let text = judge::run(&["tcpdump", "-n", "-t", "-r", &file])?;
        Ok(text.lines().map(str::to_owned).collect())
    }
}
