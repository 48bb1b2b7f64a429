//! What each signal means to a running director.
//!
//! keepalived ignores every signal that it has no use for; people and programs rely on that. Here, too, nothing that is
//! sent by habit ends or silences a director. What stays deadly is what the kernel or a watchdog sends for a reason
//! (SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGSYS, SIGTRAP, SIGKILL). SIGSTOP cannot be caught; SIGTTIN and SIGTTOU
//! are job control's.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::str::FromStr;
use std::task::Poll;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tracing::info;

use crate::daemon::clock;
use crate::time::Instant;

/// First real-time signal that programs may use with glibc, whose scripts say SIGRTMIN.
const RTMIN: i32 = 34;
/// The last one.
const RTMAX: i32 = 64;
/// keepalived's signals for its dumps.
const JSON: i32 = RTMIN + 2;
const TDATA: i32 = RTMIN + 3;
const STATS_CLEAR: i32 = RTMAX - 1;
/// Signals under way to the main loop. Full: the same files answer those that came meanwhile.
const UNDER_WAY: usize = 8;
/// The same signal is logged again after.
const LOG_PAUSE: Duration = Duration::from_secs(60);

/// What a signal orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignalOrder {
    /// Read the configuration again.
    Reload,
    /// End; by this signal.
    Stop(&'static str),
    /// Write the status into files; by this signal.
    Dump(&'static str),
    /// The router's thread reached RLIMIT_RTTIME.
    Demote,
}

/// The signals; from its making on they do not end the process.
pub(crate) struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    out_of_time: Signal,
    dumps: mpsc::Receiver<&'static str>,
}

impl Signals {
    /// Catches them. Needs the event loop's context.
    ///
    /// # Errors
    /// When there is no event loop.
    pub(crate) fn new() -> io::Result<Signals> {
        let others = HARMLESS.iter().map(|(number, ..)| *number).chain(RTMIN..=RTMAX);
        let others: Vec<(i32, Signal)> = others
            .map(|number| Ok((number, signal(SignalKind::from_raw(number))?)))
            .collect::<io::Result<_>>()?;
        let (sender, dumps) = mpsc::channel(UNDER_WAY);
        // A task of its own: the main loop need not ask forty signals at each turn.
        tokio::spawn(pass_on(others, sender));
        Ok(Signals {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            out_of_time: signal(SignalKind::from_raw(libc::SIGXCPU))?,
            dumps,
        })
    }

    /// Waits for the order to end.
    pub(crate) async fn end(&mut self) {
        while !matches!(self.next().await, SignalOrder::Stop(_)) {}
    }

    /// The next order.
    pub(crate) async fn next(&mut self) -> SignalOrder {
        tokio::select! {
            _ = self.terminate.recv() => SignalOrder::Stop("SIGTERM"),
            _ = self.interrupt.recv() => SignalOrder::Stop("SIGINT"),
            _ = self.hangup.recv() => SignalOrder::Reload,
            _ = self.out_of_time.recv() => SignalOrder::Demote,
            Some(signal) = self.dumps.recv() => SignalOrder::Dump(signal),
        }
    }
}

/// Signals that are no order to reload or to end: the number, the name, and what lvsd has instead; with None the status
/// is written.
const HARMLESS: &[(i32, &str, Option<&str>)] = &[
    (libc::SIGUSR1, "SIGUSR1", None),
    (libc::SIGUSR2, "SIGUSR2", None),
    (libc::SIGQUIT, "SIGQUIT", Some("SIGTERM or SIGINT stops lvsd")),
    (libc::SIGALRM, "SIGALRM", Some(NOTHING)),
    (libc::SIGPIPE, "SIGPIPE", Some(NOTHING)),
    (libc::SIGTSTP, "SIGTSTP", Some("a director that is suspended would lose its VIPs; SIGSTOP does it")),
    (libc::SIGXFSZ, "SIGXFSZ", Some("a file has reached its size limit (RLIMIT_FSIZE)")),
    (libc::SIGVTALRM, "SIGVTALRM", Some(NOTHING)),
    (libc::SIGPROF, "SIGPROF", Some(NOTHING)),
    (libc::SIGIO, "SIGIO", Some(NOTHING)),
    (libc::SIGPWR, "SIGPWR", Some("SIGTERM stops lvsd")),
    (libc::SIGSTKFLT, "SIGSTKFLT", Some(NOTHING)),
];
const NOTHING: &str = "lvsd does nothing on it";

/// What a signal of [`HARMLESS`], or a real-time one, is called, and what lvsd has instead of it.
fn meaning(number: i32) -> (&'static str, Option<&'static str>) {
    if let Some((_, name, instead)) = HARMLESS.iter().find(|(n, ..)| *n == number) {
        return (name, *instead);
    }
    match number {
        JSON => ("SIGRTMIN+2, keepalived's JSON", None),
        TDATA => ("SIGRTMIN+3, keepalived's TDATA", None),
        STATS_CLEAR => ("SIGRTMAX-1, keepalived's STATS_CLEAR", None),
        _ => ("a real-time signal", Some(NOTHING)),
    }
}

/// Passes on what asks for the status, and logs what asks for nothing.
async fn pass_on(mut all: Vec<(i32, Signal)>, sender: mpsc::Sender<&'static str>) {
    let mut logged: BTreeMap<i32, Instant> = BTreeMap::new();
    loop {
        let number = poll_fn(|context| {
            let mut received =
                all.iter_mut().filter_map(|(number, signal)| match signal.poll_recv(context) {
                    Poll::Ready(Some(())) => Some(*number),
                    _ => None,
                });
            received.next().map_or(Poll::Pending, Poll::Ready)
        });
        let number = number.await;
        let (name, instead) = meaning(number);
        let Some(instead) = instead else {
            // Full: those before are answered by the files this one asks for.
            let _ = sender.try_send(name);
            continue;
        };
        let now = clock::now();
        if logged.get(&number).is_none_or(|at| now.since(*at) >= LOG_PAUSE) {
            logged.insert(number, now);
            info!(
                number,
                "{name} ignored: {instead}; `lvsd status` shows the state, `lvsd handover` hands over"
            );
        }
    }
}

/// The number of a signal, by the name that keepalived's scripts give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SignalName(pub i32);

/// keepalived's names, and those of the signals themselves.
const NAMES: &[(&str, i32)] = &[
    ("STOP", libc::SIGTERM),
    ("RELOAD", libc::SIGHUP),
    ("DATA", libc::SIGUSR1),
    ("STATS", libc::SIGUSR2),
    ("STATS_CLEAR", STATS_CLEAR),
    ("JSON", JSON),
    ("TDATA", TDATA),
    ("TERM", libc::SIGTERM),
    ("INT", libc::SIGINT),
    ("HUP", libc::SIGHUP),
    ("USR1", libc::SIGUSR1),
    ("USR2", libc::SIGUSR2),
];

impl FromStr for SignalName {
    type Err = String;

    fn from_str(text: &str) -> Result<SignalName, String> {
        let wanted = text.to_ascii_uppercase();
        let found = NAMES.iter().find(|(name, _)| *name == wanted.trim_start_matches("SIG"));
        found.map(|(_, number)| SignalName(*number)).ok_or_else(|| {
            let all: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
            format!("unknown; there are {}", all.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_that_keepalived_prints() {
        // `keepalived --signum=NAME` of Debian's 2.2.7.
        let printed =
            [("STOP", 15), ("RELOAD", 1), ("DATA", 10), ("STATS", 12), ("STATS_CLEAR", 63), ("JSON", 36)];
        for (name, number) in printed {
            assert_eq!(name.parse(), Ok(SignalName(number)));
        }
        assert!("GARP".parse::<SignalName>().unwrap_err().contains("STOP, RELOAD, DATA"));
    }

    #[test]
    fn every_signal_that_can_be_caught_is_an_order_or_does_no_harm() {
        let orders = [libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGXCPU];
        // The kernel's word on a broken program, a watchdog's on a hung one, those that cannot be caught, job
        // control's, and what does nothing by itself.
        let left = [
            libc::SIGILL,
            libc::SIGTRAP,
            libc::SIGABRT,
            libc::SIGBUS,
            libc::SIGFPE,
            libc::SIGSEGV,
            libc::SIGSYS,
            libc::SIGKILL,
            libc::SIGSTOP,
            libc::SIGTTIN,
            libc::SIGTTOU,
            libc::SIGCHLD,
            libc::SIGCONT,
            libc::SIGURG,
            libc::SIGWINCH,
            // glibc's own.
            32,
            33,
        ];
        for number in 1..=RTMAX {
            let is_harmless = HARMLESS.iter().any(|(n, ..)| *n == number) || number >= RTMIN;
            let times = [is_harmless, orders.contains(&number), left.contains(&number)];
            assert_eq!(times.iter().filter(|is| **is).count(), 1, "signal {number}");
        }
    }
}
