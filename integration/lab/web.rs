//! A small web server of ours: answers with its host's name, and falls ill on command.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Verdict;
use super::host::Host;

/// Threads that accept; each serves one connection at a time.
const WORKERS: usize = 4;
/// How long a client may take with its request.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest request that is read.
const REQUEST_LIMIT: usize = 8192;

/// A web server: `/` answers the host's name, `/health` what it was told to, `/src` the client's address.
#[derive(Debug)]
pub(crate) struct Web {
    host: Host,
    port: u16,
    state: Arc<State>,
    running: Option<Running>,
}

#[derive(Debug)]
struct State {
    name: String,
    health_status: AtomicU16,
    health_body: Mutex<String>,
    hanging: AtomicBool,
    served: AtomicU64,
    checked: AtomicU64,
}

#[derive(Debug)]
struct Running {
    listener: TcpListener,
    workers: Vec<JoinHandle<Result<(), String>>>,
}

impl Web {
    /// Starts one on port 80 of every address, IPv4 and IPv6.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub(crate) fn start(host: &Host) -> Result<Web, String> {
        Web::start_at(host, 80)
    }

    /// Starts one on this port.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub(crate) fn start_at(host: &Host, port: u16) -> Result<Web, String> {
        let state = Arc::new(State {
            name: host.name().to_owned(),
            health_status: AtomicU16::new(200),
            health_body: Mutex::new("OK\n".to_owned()),
            hanging: AtomicBool::new(false),
            served: AtomicU64::new(0),
            checked: AtomicU64::new(0),
        });
        let mut web = Web { host: host.clone(), port, state, running: None };
        web.resume()?;
        Ok(web)
    }

    /// `/health` answers with this status from now on.
    pub(crate) fn set_health_status(&self, status: u16) {
        self.state.health_status.store(status, Ordering::SeqCst);
    }

    /// `/health` answers with this body from now on.
    pub(crate) fn set_health_body(&self, body: &str) {
        *self.state.health_body.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = body.to_owned();
    }

    /// Accepts connections and says nothing on them, or talks again.
    pub(crate) fn hang(&self, hanging: bool) {
        self.state.hanging.store(hanging, Ordering::SeqCst);
    }

    /// Stops listening: the kernel answers new connections with RST.
    pub(crate) fn stop(&mut self) {
        if let Some(running) = self.running.take() {
            // Shutting a listening socket down wakes the thread that waits in accept.
            let _ = rustix::net::shutdown(running.listener.as_fd(), rustix::net::Shutdown::Read);
            drop(running.listener);
            for worker in running.workers {
                let _ = worker.join();
            }
        }
    }

    /// Listens again after [`Web::stop`].
    ///
    /// # Errors
    /// When the port cannot be had.
    pub(crate) fn resume(&mut self) -> Verdict {
        if self.running.is_some() {
            return Ok(());
        }
        let port = self.port;
        let fail = |e: io::Error| format!("{}: port {port}: {e}", self.host.name());
        let listener = self.host.enter(|| TcpListener::bind(("::", port)).map_err(fail))?;
        let mut workers = Vec::new();
        for _ in 0..WORKERS {
            let listener = listener.try_clone().map_err(fail)?;
            let state = Arc::clone(&self.state);
            workers.push(self.host.spawn(move || {
                while let Ok((stream, _)) = listener.accept() {
                    // A client that went away has lost its own answer only.
                    let _ = state.serve(stream);
                }
                Ok(())
            }));
        }
        self.running = Some(Running { listener, workers });
        Ok(())
    }

    /// Requests answered so far, health checks apart.
    pub(crate) fn served(&self) -> u64 {
        self.state.served.load(Ordering::SeqCst)
    }

    /// Health checks answered so far.
    pub(crate) fn checked(&self) -> u64 {
        self.state.checked.load(Ordering::SeqCst)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.state.hanging.store(false, Ordering::SeqCst);
        self.stop();
    }
}

impl State {
    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let Some(path) = read_request(&mut stream)? else { return Ok(()) };
        let path = path.as_str();
        if self.hanging.load(Ordering::SeqCst) {
            return self.say_nothing(&mut stream);
        }
        let (status, body) = match path {
            "/" => (200, format!("{}\n", self.name)),
            "/src" => (200, format!("{}\n", stream.peer_addr()?.ip().to_canonical())),
            "/health" => {
                let body = self.health_body.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                (self.health_status.load(Ordering::SeqCst), body.clone())
            }
            _ => (404, String::new()),
        };
        let counter = if path == "/health" { &self.checked } else { &self.served };
        counter.fetch_add(1, Ordering::SeqCst);
        let head =
            format!("HTTP/1.1 {status} As-Told\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
        stream.write_all(format!("{head}\r\n{body}").as_bytes())
    }

    fn say_nothing(&self, stream: &mut TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(Duration::from_millis(100)))?;
        let mut byte = [0];
        while self.hanging.load(Ordering::SeqCst) {
            match stream.read(&mut byte) {
                Ok(0) => break,
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// Reads a request's head and answers its path; None when the client only came to connect.
fn read_request(stream: &mut TcpStream) -> io::Result<Option<String>> {
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.windows(4).any(|w| w == b"\r\n\r\n") {
        let n = stream.read(&mut buffer)?;
        if n == 0 || request.len() > REQUEST_LIMIT {
            return Ok(None);
        }
        request.extend_from_slice(buffer.get(..n).unwrap_or_default());
    }
    let head = String::from_utf8_lossy(&request);
    Ok(head.split_ascii_whitespace().nth(1).map(str::to_owned))
}
