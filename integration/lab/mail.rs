//! A mail server of ours: keeps what it is sent, and falls ill on command.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Verdict;
use super::host::Host;
use super::wait::{seconds, wait_for};

/// How long a client may take with a line.
const PATIENCE: Duration = Duration::from_secs(120);

/// A mail as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Mail {
    /// The client's name for itself, with its greeting word.
    pub hello: String,
    /// MAIL and RCPT, as they were said.
    pub envelope: Vec<String>,
    /// Header and body, lines ended by \r\n.
    pub data: String,
}

impl Mail {
    /// A header's value, unfolded.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let (head, _) = self.data.split_once("\r\n\r\n")?;
        let head = head.replace("\r\n ", " ").replace("\r\n\t", " ");
        let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
        lines.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
    }

    /// Its body, without empty lines around it.
    pub(crate) fn body(&self) -> &str {
        self.data.split_once("\r\n\r\n").map_or("", |(_, body)| body.trim_matches(['\r', '\n']))
    }

    /// Subject and body.
    pub(crate) fn text(&self) -> String {
        format!("{} | {}", self.header("Subject").unwrap_or_default(), self.body())
    }
}

/// How it treats its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// It takes mails.
    Well,
    /// It accepts connections and says nothing on them.
    Hangs,
    /// It answers the command that begins with this word with this reply.
    Says(&'static str, String),
}

/// A mail server on port 25 of every address.
#[derive(Debug)]
pub(crate) struct MailServer {
    host: Host,
    state: Arc<State>,
    running: Option<(TcpListener, JoinHandle<Result<(), String>>)>,
}

#[derive(Debug)]
struct State {
    mails: Mutex<Vec<Mail>>,
    behaviour: Mutex<Behaviour>,
}

impl MailServer {
    /// Starts one.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub(crate) fn start(host: &Host) -> Result<MailServer, String> {
        let state = Arc::new(State { mails: Mutex::default(), behaviour: Mutex::new(Behaviour::Well) });
        let mut server = MailServer { host: host.clone(), state, running: None };
        server.resume()?;
        Ok(server)
    }

    /// Behaves in this way towards clients from now on.
    pub(crate) fn set_behaviour(&self, behaviour: Behaviour) {
        *held(&self.state.behaviour) = behaviour;
    }

    /// What has arrived since this was last asked.
    pub(crate) fn take(&self) -> Vec<Mail> {
        std::mem::take(&mut *held(&self.state.mails))
    }

    /// Waits until so many mails have arrived, and whether more come within a time; takes them.
    ///
    /// # Errors
    /// When there are fewer, or more.
    pub(crate) fn exactly(&self, what: &str, count: usize, rest: Duration) -> Result<Vec<Mail>, String> {
        let texts = || held(&self.state.mails).iter().map(Mail::text).collect::<Vec<_>>();
        wait_for(&format!("{what}: {count} mails"), seconds(40), || {
            let texts = texts();
            if texts.len() >= count { Ok(()) } else { Err(format!("{texts:#?}")) }
        })?;
        super::wait::pause(rest);
        let texts = texts();
        super::claim(texts.len() == count, || format!("{what}: no more than {count} mails: {texts:#?}"))?;
        Ok(self.take())
    }

    /// Stops listening: the kernel refuses new connections.
    pub(crate) fn stop(&mut self) {
        if let Some((listener, worker)) = self.running.take() {
            // Shutting a listening socket down wakes the thread that waits in accept.
            let _ = rustix::net::shutdown(listener.as_fd(), rustix::net::Shutdown::Read);
            drop(listener);
            let _ = worker.join();
        }
    }

    /// Listens again.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub(crate) fn resume(&mut self) -> Verdict {
        if self.running.is_some() {
            return Ok(());
        }
        let fail = |e: io::Error| format!("{}: port 25: {e}", self.host.name());
        let listener = self.host.enter(|| TcpListener::bind(("::", 25)).map_err(fail))?;
        let (copy, state) = (listener.try_clone().map_err(fail)?, Arc::clone(&self.state));
        let worker = self.host.spawn(move || {
            while let Ok((stream, _)) = copy.accept() {
                let state = Arc::clone(&state);
                // A client that went away has lost its own mail only.
                std::thread::spawn(move || state.serve(&stream));
            }
            Ok(())
        });
        self.running = Some((listener, worker));
        Ok(())
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.set_behaviour(Behaviour::Well);
        self.stop();
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut lines = BufReader::new(stream);
        let mut writer = stream;
        while *held(&self.behaviour) == Behaviour::Hangs {
            std::thread::sleep(Duration::from_millis(100));
        }
        writer.write_all(b"220 lab ESMTP\r\n")?;
        let (mut hello, mut envelope) = (String::new(), Vec::new());
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_owned();
            let word = line.get(..4).unwrap_or_default().to_ascii_uppercase();
            if let Behaviour::Says(command, reply) = held(&self.behaviour).clone()
                && word == command
            {
                writer.write_all(format!("{reply}\r\n").as_bytes())?;
                continue;
            }
            let reply = match word.as_str() {
                "HELO" | "EHLO" => {
                    hello = line;
                    "250-lab greets you\r\n250 8BITMIME"
                }
                "MAIL" | "RCPT" => {
                    envelope.push(line);
                    "250 so be it"
                }
                "DATA" => {
                    writer.write_all(b"354 go on\r\n")?;
                    let data = read_data(&mut lines)?;
                    let (hello, envelope) = (hello.clone(), std::mem::take(&mut envelope));
                    held(&self.mails).push(Mail { hello, envelope, data });
                    "250 it is kept"
                }
                "QUIT" => {
                    writer.write_all(b"221 good-bye\r\n")?;
                    return Ok(());
                }
                _ => "500 what?",
            };
            writer.write_all(format!("{reply}\r\n").as_bytes())?;
        }
    }
}

/// Until a line with a dot alone; doubled dots are halved.
fn read_data(lines: &mut impl BufRead) -> io::Result<String> {
    let mut data = String::new();
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.strip_prefix('.') {
            Some("\r\n") => return Ok(data),
            Some(rest) => data.push_str(rest),
            None => data.push_str(&line),
        }
    }
}
