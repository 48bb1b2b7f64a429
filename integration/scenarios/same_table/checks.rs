//! What the generator says about checks: which address is asked for what, and what becomes of a virtual server whose
//! real servers do not all answer. Which of them do is [`answering`]'s business, so that every verdict is sure.

use std::fmt::Write as _;
use std::net::{IpAddr, TcpStream};

use crate::lab::host::Host;
use crate::lab::wait::{seconds, wait_for};
use crate::lab::web::Web;
use crate::lab::{Lab, Verdict};

/// The host that is the real servers 1 to 3 of either family; those beyond are nowhere.
pub(super) const HOST: &str = "web";
/// MD5 of `OK` and a line feed, what `/health` answers.
const DIGEST: &str = "d36f8f9425c4a8000ad9c4a97185aca5";

/// The addresses of [`HOST`].
pub(super) fn addresses() -> Vec<String> {
    (1..=3).flat_map(|n| [format!("10.1.2.{n}/24"), format!("fd00:1::2:{n}/64")]).collect()
}

/// What answers there: port 80, and 8080 beside it; port 81 is closed. Both directors know the way when this returns:
/// a first question that waits for ARP would be a verdict of one of them only.
///
/// # Errors
/// When a port cannot be had, or not be reached.
pub(super) fn answering(lab: &Lab, directors: [&Host; 2]) -> Result<[Web; 2], String> {
    let host = lab.host(HOST)?;
    let webs = [Web::start_at(&host, 80)?, Web::start_at(&host, 8080)?];
    for director in directors {
        for address in addresses() {
            let ip = address.split('/').next().unwrap_or_default();
            let ip: IpAddr = ip.parse().map_err(|e| format!("{address}: {e}"))?;
            wait_for(&format!("{} reaches {ip}", director.name()), seconds(20), || {
                let at = (ip, 80).into();
                director.enter(|| TcpStream::connect_timeout(&at, seconds(5)).map_err(|e| e.to_string()))
            })?;
        }
    }
    Ok(webs)
}

/// Lines of a virtual server. `alpha` is said of all its real servers or of none: were some up and some down at the
/// beginning, the order of their verdicts would decide on which side of the hysteresis it ends.
pub(super) fn of_virtual_server(rng: &mut fastrand::Rng, text: &mut String) {
    let _ = writeln!(text, "    delay_loop {}", rng.u8(1..4));
    let _ = writeln!(text, "    connect_timeout {}", rng.u8(2..5));
    let quorum = rng.u8(1..5);
    if rng.bool() {
        let _ = writeln!(text, "    quorum {quorum}");
        if rng.bool() {
            let _ = writeln!(text, "    hysteresis {}", rng.u8(0..quorum));
        }
    }
    for word in ["alpha", "inhibit_on_failure"] {
        if rng.u8(0..3) == 0 {
            let _ = writeln!(text, "    {word}");
        }
    }
    for (word, most) in [("retry", 4), ("delay_before_retry", 3), ("warmup", 3)] {
        if rng.u8(0..4) == 0 {
            let _ = writeln!(text, "    {word} {}", rng.u8(1..most));
        }
    }
}

/// Lines of a real server: what it says itself, and none, one or two checkers.
pub(super) fn of_real_server(rng: &mut fastrand::Rng, text: &mut String) {
    if rng.u8(0..5) == 0 {
        text.push_str("        inhibit_on_failure\n");
    }
    if rng.u8(0..5) == 0 {
        let _ = writeln!(text, "        delay_loop {}", rng.u8(1..4));
    }
    for _ in 0..rng.choice([0, 1, 1, 1, 1, 2]).unwrap_or(1) {
        let is_http = rng.bool();
        text.push_str(if is_http { "        HTTP_GET {\n" } else { "        TCP_CHECK {\n" });
        let _ =
            writeln!(text, "            connect_port {}", rng.choice([80, 80, 80, 8080, 81]).unwrap_or(80));
        for (word, most) in [("retry", 3), ("delay_before_retry", 3), ("delay_loop", 3)] {
            if rng.u8(0..4) == 0 {
                let _ = writeln!(text, "            {word} {}", rng.u8(1..most));
            }
        }
        if is_http {
            urls(rng, text);
        }
        text.push_str("        }\n");
    }
}

fn urls(rng: &mut fastrand::Rng, text: &mut String) {
    let wrong = DIGEST.replace('d', "e");
    let urls = [
        "path /health".to_owned(),
        "path /health\n                status_code 200".to_owned(),
        format!("path /health\n                digest {DIGEST}"),
        "path /none\n                status_code 200-299 404".to_owned(),
        // These fail.
        "path /none".to_owned(),
        format!("path /health\n                digest {wrong}"),
    ];
    for _ in 0..rng.choice([1, 1, 2]).unwrap_or(1) {
        let url = rng.choice(&urls).map_or("path /", String::as_str);
        let _ = writeln!(text, "            url {{\n                {url}\n            }}");
    }
}

/// Whether every checker of a host's lvsd has run, by `lvsd status --json`.
///
/// # Errors
/// Which has not.
pub(super) fn all_ran(status: &serde_json::Value) -> Verdict {
    let real_servers = status["virtual_servers"].as_array().into_iter().flatten();
    let mut real_servers = real_servers.flat_map(|v| v["real_servers"].as_array().into_iter().flatten());
    match real_servers.find(|r| !r["unverified_seconds"].is_null()) {
        None => Ok(()),
        Some(waiting) => Err(format!("no verdict on {}", waiting["real_server"])),
    }
}
