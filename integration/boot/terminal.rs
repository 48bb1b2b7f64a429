//! The operator's terminal as the guest's console: raw mode, bytes both ways, restored at the end.
//!
//! The guest's console is one end of a socket pair; a terminal handed to the guest directly would have to
//! share its foreground process group, and with it Ctrl-C.

use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// The terminal's settings before raw mode.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// End of input, as a terminal in canonical mode spells it.
const END_OF_TRANSMISSION: u8 = 4;
/// How often the end of piped input is repeated.
const AGAIN: Duration = Duration::from_secs(1);

/// A console between this process's stdin and stdout and a guest.
#[derive(Debug)]
pub(crate) struct Terminal {
    guest: Option<UnixStream>,
    output: std::thread::JoinHandle<()>,
}

impl Terminal {
    /// Raw mode if stdin is a terminal, and threads that carry bytes both ways.
    pub(crate) fn open() -> io::Result<Terminal> {
        let (here, guest) = UnixStream::pair()?;
        if io::stdin().is_terminal() {
            let before = tcgetattr(io::stdin())?;
            let mut raw = before.clone();
            raw.make_raw();
            *BEFORE.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(before);
            tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        }
        let mut to_guest = here.try_clone()?;
        let (spoke, first_words) = sync_channel(1);
        std::thread::spawn(move || {
            // What arrives before the guest has opened its console is never read.
            if first_words.recv().is_err() {
                return;
            }
            // Ends with the process: a blocked read of stdin cannot be called back.
            let _ = io::copy(&mut io::stdin().lock(), &mut to_guest);
            // Input that came by a pipe has ended; a shell that was not listening yet hears it the next time.
            while to_guest.write_all(&[END_OF_TRANSMISSION]).is_ok() {
                std::thread::sleep(AGAIN);
            }
        });
        let output = std::thread::spawn(move || copy_output(here, &spoke));
        Ok(Terminal { guest: Some(guest), output })
    }

    /// The guest's end, for its stdin and stdout.
    pub(crate) fn guest_end(&self) -> io::Result<UnixStream> {
        self.guest.as_ref().map_or_else(|| Err(io::ErrorKind::NotConnected.into()), UnixStream::try_clone)
    }

    /// Call once the guest has its end: the output ends when the guest does.
    pub(crate) fn handed_over(&mut self) {
        self.guest = None;
    }

    /// After the guest's end: the rest of its output, then the terminal as it was.
    pub(crate) fn close(self) {
        drop(self.guest);
        let _ = self.output.join();
        restore();
    }
}

/// Rows and columns of the terminal on stdout, if it is one.
pub(crate) fn size() -> Option<(u16, u16)> {
    tcgetwinsize(io::stdout()).ok().map(|s| (s.ws_row, s.ws_col)).filter(|(r, c)| *r > 0 && *c > 0)
}

/// Puts the terminal back as it was.
pub(crate) fn restore() {
    let before = BEFORE.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    if let Some(before) = before {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
    }
}

fn copy_output(mut from: UnixStream, spoke: &SyncSender<()>) {
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        // Full: it has spoken before.
        let _ = spoke.try_send(());
        let mut out = io::stdout().lock();
        if out.write_all(buffer.get(..n).unwrap_or_default()).and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}
