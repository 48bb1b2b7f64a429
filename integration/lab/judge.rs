//! Other people's programs, run to their end: what the kernel and the world think of what lvsd did.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use super::Verdict;
use super::host::Host;

/// Runs a command where the caller is and answers its output.
///
/// # Errors
/// When it cannot be run or fails, with what it said.
pub(crate) fn run(command: &[&str]) -> Result<String, String> {
    run_with_input(command, "")
}

/// Runs a command with this input.
///
/// # Errors
/// When it cannot be run or fails, with what it said.
pub(crate) fn run_with_input(command: &[&str], input: &str) -> Result<String, String> {
    let words = command.join(" ");
    let fail = |e: &dyn std::fmt::Display| format!("{words}: {e}");
    let (program, arguments) = command.split_first().ok_or("no command")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| fail(&e))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its input has closed it by now: not our concern.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(|e| fail(&e))?;
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(fail(&complaint(&output))) }
}

/// Runs a command in a host and answers its output.
///
/// # Errors
/// When it cannot be run or fails, with what it said.
pub(crate) fn output(host: &Host, command: &[&str]) -> Result<String, String> {
    host.enter(|| run(command)).map_err(|e| format!("{}: {e}", host.name()))
}

/// `curl` from a host: status code and body.
///
/// # Errors
/// When curl fails (refused, timed out, ...), with its words.
pub(crate) fn curl(host: &Host, url: &str, limit: Duration) -> Result<(u16, String), String> {
    let limit = format!("{:.1}", limit.as_secs_f64());
    let answer = output(host, &["curl", "-g", "-sS", "-m", &limit, "-w", "\n%{http_code}", url])?;
    let (body, code) = answer.rsplit_once('\n').ok_or_else(|| format!("curl: {answer:?}"))?;
    Ok((code.parse().map_err(|e| format!("curl: {code:?}: {e}"))?, body.to_owned()))
}

/// `modprobe`; a kernel that cannot load modules has everything built in.
///
/// # Errors
/// What `modprobe` said.
pub(crate) fn modprobe(modules: &[&str]) -> Verdict {
    if !Path::new("/proc/modules").exists() {
        return Ok(());
    }
    let mut command = vec!["modprobe", "-a", "-q"];
    command.extend(modules);
    run(&command).map(drop)
}

/// Addresses of a host by interface, as `ip -j addr` sees them.
///
/// # Errors
/// When `ip` fails or its output makes no sense.
pub(crate) fn addresses(host: &Host) -> Result<BTreeMap<String, BTreeSet<IpAddr>>, String> {
    let json = run(&["ip", "-n", host.name(), "-j", "addr"])?;
    let links: Vec<Link> = serde_json::from_str(&json).map_err(|e| format!("ip -j addr: {e}"))?;
    Ok(links.into_iter().map(|l| (l.ifname, l.addr_info.into_iter().map(|a| a.local).collect())).collect())
}

#[derive(serde::Deserialize)]
struct Link {
    ifname: String,
    addr_info: Vec<Address>,
}

#[derive(serde::Deserialize)]
struct Address {
    local: IpAddr,
}

fn complaint(output: &Output) -> String {
    let said = format!("{}{}", text(&output.stderr), text(&output.stdout));
    format!("{}: {}", output.status, said.trim())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
