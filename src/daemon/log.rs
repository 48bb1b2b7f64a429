//! Writes the log in a thread of its own: its reader may hang, and must not stop the rest of the process.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

/// Lines that wait to be taken; further ones are lost, and counted.
const MAX_LINES: usize = 4096;
/// How long the end of the process waits for them.
const LAST_LINES: Duration = Duration::from_secs(1);

/// This process's log.
static LOG: OnceLock<Log> = OnceLock::new();

enum Message {
    Line(Vec<u8>),
    /// All before it has been written.
    Flush(SyncSender<()>),
}

#[derive(Debug)]
struct Log {
    lines: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

/// From now on writing a line never blocks. Begins a thread, so it is for when no process is to be forked any more.
pub(crate) fn detach() {
    // Without the thread they are written as before.
    if let Ok(log) = Log::begin(io::stderr()) {
        let _ = LOG.set(log);
    }
}

/// Waits a second at most until all lines are written.
pub(crate) fn flush() {
    if let Some(log) = LOG.get() {
        log.flush();
    }
}

/// Takes what is to be written, a line at a time.
#[derive(Debug)]
pub(crate) struct Writer;

impl Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match LOG.get() {
            Some(log) => {
                log.push(line);
                Ok(line.len())
            }
            None => io::stderr().write(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn begin(mut out: impl Write + Send + 'static) -> io::Result<Log> {
        // Full: lines are lost, which is said once there is room.
        let (lines, queue) = sync_channel(MAX_LINES);
        let lost = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&lost);
        thread::Builder::new().name("lvsd-log".to_owned()).spawn(move || {
            while let Ok(message) = queue.recv() {
                match message {
                    // There is no place left to report that it cannot be written.
                    Message::Line(line) => drop(out.write_all(&line)),
                    Message::Flush(done) => drop(done.try_send(())),
                }
                match count.swap(0, Ordering::Relaxed) {
                    0 => {}
                    lost => drop(writeln!(out, "lvsd: the log was not read in time: {lost} lines are lost")),
                }
            }
        })?;
        Ok(Log { lines, lost })
    }

    fn push(&self, line: &[u8]) {
        if self.lines.try_send(Message::Line(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {
        let (done, flushed) = sync_channel(1);
        if self.lines.try_send(Message::Flush(done)).is_ok() {
            let _ = flushed.recv_timeout(LAST_LINES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_reader_that_hangs_delays_no_writer_and_lost_lines_are_counted() {
        let (mut reader, writer) = io::pipe().unwrap();
        let log = Log::begin(writer).unwrap();
        // More than the pipe and the queue hold; it would hang here for ever.
        let line = [b"x".repeat(99), b"\n".to_vec()].concat();
        for _ in 0..3 * MAX_LINES {
            log.push(&line);
        }
        let taken = thread::spawn(move || {
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            text
        });
        while log.lost.load(Ordering::Relaxed) > 0 {
            thread::yield_now();
        }
        log.flush();
        drop(log);
        let text = taken.join().unwrap();
        let whole = text.lines().filter(|line| line.len() == 99).count();
        // What was lost before the pipe was full is said at once, the rest when there is room again.
        let reports =
            text.lines().filter_map(|line| line.strip_prefix("lvsd: the log was not read in time: "));
        let lost: usize = reports.map(|rest| rest.split(' ').next().unwrap().parse::<usize>().unwrap()).sum();
        assert_eq!(whole + lost, 3 * MAX_LINES);
        assert!(whole >= MAX_LINES, "{whole}");
    }
}
