//! A thousand checks a second, of servers in the director's own namespace: what one costs, and how late it is.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::lab::host::Host;
use crate::lab::vrrp::node::Make;
use crate::lab::wait::{pause, seconds, wait_for};

use super::report::{Row, Value};
use super::subject::Subject;
use super::{Bench, PATIENCE};

/// Real servers; each is checked once a second.
const SERVERS: u32 = 1000;
const INTERVAL: Duration = seconds(1);
/// How long they are watched.
const WATCHED: Duration = seconds(20);
/// Where all of them listen.
const PORT: u16 = 8080;
/// What the web server answers.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";

pub(super) fn tcp_rows() -> Vec<Row> {
    rows("tcp", "TCP_CHECK", 0.90)
}

pub(super) fn http_rows() -> Vec<Row> {
    rows("http", "HTTP_GET", 0.90)
}

fn rows(kind: &str, keyword: &str, want: f64) -> Vec<Row> {
    let row = |name: String, about: String, unit, want| Row { name, about, unit, want };
    vec![
        row(
            format!("{kind}-check"),
            format!("CPU of a {keyword}, 1,000 a second"),
            "thousand instructions",
            Some(want),
        ),
        row(
            format!("{kind}-late-p50"),
            format!("{keyword}: time between two, beyond delay_loop, median"),
            "ms",
            None,
        ),
        row(format!("{kind}-late-p99"), format!("{keyword}: the same, 99th percentile"), "ms", None),
    ]
}

pub(super) fn tcp(bench: &Bench, make: Make) -> Result<Vec<Value>, String> {
    measure(bench, make, "tcp", false, "TCP_CHECK {\n connect_timeout 3\n }")
}

pub(super) fn http(bench: &Bench, make: Make) -> Result<Vec<Value>, String> {
    measure(
        bench,
        make,
        "http",
        true,
        "HTTP_GET {\n url {\n path /\n status_code 200\n }\n connect_timeout 3\n }",
    )
}

fn measure(bench: &Bench, make: Make, kind: &str, speaks: bool, check: &str) -> Result<Vec<Value>, String> {
    let server = Server::start(&bench.director, speaks)?;
    let subject = Subject::start(bench.lab, &bench.director, make, &configuration(check))?;
    // Two rounds: every server has been asked, and the start is over.
    wait_for("every real server is checked", PATIENCE, || {
        pause(INTERVAL);
        let seen = server.servers();
        if seen >= SERVERS as usize { Ok(()) } else { Err(format!("{seen} of {SERVERS}")) }
    })?;
    pause(INTERVAL * 5);
    server.forget();
    let before = subject.group.cpu()?;
    pause(WATCHED);
    let cost = subject.group.cpu()?.saturating_sub(before);
    let times = server.times();
    subject.stop()?;
    server.stop();
    let checks: usize = times.values().map(Vec::len).sum();
    let mut late: Vec<f64> = times
        .values()
        .flat_map(|all| all.windows(2).filter_map(|two| Some((*two.first()?, *two.get(1)?))))
        .map(|(one, next)| (next.duration_since(one).as_secs_f64() - INTERVAL.as_secs_f64()) * 1e3)
        .collect();
    late.sort_by(f64::total_cmp);
    let at =
        |percent: usize| late.get(late.len().saturating_sub(1) * percent / 100).copied().unwrap_or(f64::NAN);
    let checks = u32::try_from(checks).unwrap_or(u32::MAX).max(1);
    Ok(vec![
        Value::new(format!("{kind}-check"), (cost / checks).as_secs_f64() * 1e6),
        Value::new(format!("{kind}-late-p50"), at(50)),
        Value::new(format!("{kind}-late-p99"), at(99)),
    ])
}

/// One thread that accepts for all real servers, and remembers when each was asked.
struct Server {
    times: Arc<Mutex<BTreeMap<IpAddr, Vec<Instant>>>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), String>>,
    host: Host,
}

impl Server {
    fn start(host: &Host, speaks: bool) -> Result<Server, String> {
        let times: Arc<Mutex<BTreeMap<IpAddr, Vec<Instant>>>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, ended) = (Arc::clone(&times), Arc::clone(&stop));
        let listener = host.enter(|| {
            TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], PORT))).map_err(|e| format!("port {PORT}: {e}"))
        })?;
        let thread = host.spawn(move || {
            let mut request = [0; 2048];
            for stream in listener.incoming() {
                if ended.load(Ordering::SeqCst) {
                    break;
                }
                let now = Instant::now();
                let Ok(mut stream) = stream else { continue };
                let Ok(address) = stream.local_addr() else { continue };
                seen.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .entry(address.ip())
                    .or_default()
                    .push(now);
                if speaks {
                    let _ = stream.set_read_timeout(Some(seconds(1)));
                    let _ = stream.read(&mut request);
                    let _ = stream.write_all(ANSWER);
                }
            }
            Ok(())
        });
        Ok(Server { times, stop, thread, host: host.clone() })
    }

    fn servers(&self) -> usize {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn forget(&self) {
        self.times.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn times(&self) -> BTreeMap<IpAddr, Vec<Instant>> {
        std::mem::take(&mut *self.times.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn stop(self) {
        self.stop.store(true, Ordering::SeqCst);
        // It waits for a connection: this is the last.
        let _ = self.host.enter(|| {
            std::net::TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], PORT))).map_err(|e| e.to_string())
        });
        let _ = self.thread.join();
    }
}

fn configuration(check: &str) -> String {
    let mut text = String::new();
    for n in 0..SERVERS / 10 {
        let _ = writeln!(
            text,
            "virtual_server 10.10.0.{} 80 {{\n delay_loop 1\n lb_algo rr\n lb_kind NAT\n protocol TCP",
            n + 1
        );
        for k in 1..=10 {
            let _ = writeln!(text, " real_server 127.{k}.1.{} {PORT} {{\n weight 1\n {check}\n }}", n + 1);
        }
        text.push_str("}\n");
    }
    text
}
