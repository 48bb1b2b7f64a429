//! Files that may hang, as those of a network file system whose server is away: reading a configuration ends all the
//! same.
//!
//! A file system that does not answer blocks every thread that opens, lists or looks, and only its answer ends that. So a
//! thread does it, and is left behind when the time for the whole configuration is over. It ends by itself when the
//! file system answers at last; how many may be left behind is bounded. The end of the process may have to wait for it,
//! too: not every wait in the kernel can be interrupted. No clock is read: the time that is counted is time spent waiting,
//! not that of a large configuration.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use super::files::{Files, Links, Refusal};

/// Threads that may be left behind at one time.
pub(crate) const MAX_LEFT_BEHIND: usize = 4;
/// What waiting is counted in.
const SLICE: Duration = Duration::from_millis(50);

type Job<F> = Box<dyn FnOnce(&F) + Send>;

/// Files that are given up on.
#[derive(Debug)]
pub(crate) struct TimeLimited<F> {
    files: F,
    limit: Duration,
    left: Cell<Duration>,
    /// What was given up on.
    silent: RefCell<Option<PathBuf>>,
    reader: OnceCell<Reader<F>>,
    /// Threads that were left behind and have not ended.
    left_behind: &'static AtomicUsize,
}

#[derive(Debug)]
struct Reader<F> {
    jobs: SyncSender<Job<F>>,
    is_left_behind: Arc<AtomicBool>,
}

impl<F: Files + Clone + Send + 'static> TimeLimited<F> {
    /// All that is asked of these files takes this long at most. The count is of those of the whole process.
    pub(crate) fn new(files: F, limit: Duration, left_behind: &'static AtomicUsize) -> TimeLimited<F> {
        let (left, silent, reader) = (Cell::new(limit), RefCell::default(), OnceCell::new());
        TimeLimited { files, limit, left, silent, reader, left_behind }
    }

    fn ask<T: Send + 'static>(
        &self,
        path: &Path,
        question: impl FnOnce(&F, &Path) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        if let Some(silent) = self.silent.borrow().clone() {
            return Err(Refusal::OutOfTime(silent).into());
        }
        let broken = || io::Error::other("the thread that reads files broke");
        let reader = self.reader()?;
        // One question at a time: there is always room for it.
        let (sender, answer) = sync_channel(1);
        let asked = path.to_owned();
        let job = move |files: &F| {
            // The receiver no longer waits.
            let _ = sender.send(question(files, &asked));
        };
        reader.jobs.send(Box::new(job)).map_err(|_| broken())?;
        loop {
            match answer.recv_timeout(SLICE) {
                Ok(answer) => return answer,
                Err(RecvTimeoutError::Disconnected) => return Err(broken()),
                Err(RecvTimeoutError::Timeout) => {
                    self.left.set(self.left.get().saturating_sub(SLICE));
                    if self.left.get().is_zero() {
                        self.silent.replace(Some(path.to_owned()));
                        // Before its channel is closed: it ends only then, and takes itself from the count.
                        self.left_behind.fetch_add(1, Ordering::SeqCst);
                        reader.is_left_behind.store(true, Ordering::SeqCst);
                        return Err(Refusal::NoAnswer(self.limit).into());
                    }
                }
            }
        }
    }

    fn is_crowded(&self) -> bool {
        self.left_behind.load(Ordering::SeqCst) >= MAX_LEFT_BEHIND
    }

    fn reader(&self) -> io::Result<&Reader<F>> {
        if let Some(reader) = self.reader.get() {
            return Ok(reader);
        }
        if self.is_crowded() {
            return Err(Refusal::TooManyWaiting(MAX_LEFT_BEHIND).into());
        }
        let (jobs, queue): (_, Receiver<Job<F>>) = sync_channel(1);
        let is_left_behind = Arc::new(AtomicBool::new(false));
        let (files, is_left, count) = (self.files.clone(), Arc::clone(&is_left_behind), self.left_behind);
        std::thread::Builder::new().name("lvsd-files".to_owned()).spawn(move || {
            while let Ok(job) = queue.recv() {
                job(&files);
            }
            if is_left.load(Ordering::SeqCst) {
                count.fetch_sub(1, Ordering::SeqCst);
            }
        })?;
        Ok(self.reader.get_or_init(|| Reader { jobs, is_left_behind }))
    }
}

impl<F: Files + Clone + Send + 'static> Files for TimeLimited<F> {
    fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        self.ask(path, move |files, path| files.read(path, limit))
    }

    fn host(&self) -> String {
        self.files.host()
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.files.variable(name)
    }

    fn exists(&self, path: &Path) -> bool {
        self.ask(path, |files, path| Ok(files.exists(path))).unwrap_or(true)
    }

    fn list(&self, directory: &Path, limit: usize) -> io::Result<Vec<String>> {
        self.ask(directory, move |files, directory| files.list(directory, limit))
    }

    fn is_silent(&self) -> bool {
        self.silent.borrow().is_some() || (self.reader.get().is_none() && self.is_crowded())
    }

    fn links(&self) -> Option<Cow<'_, Links>> {
        self.files.links()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::syntax::files::{MemoryFiles, in_words};

    /// Files of which those under `/nfs` do not answer until their server is back.
    #[derive(Clone)]
    struct Hung {
        files: MemoryFiles,
        server: Arc<std::sync::Barrier>,
    }

    impl Hung {
        fn new() -> Hung {
            let files = MemoryFiles::new(&[("/etc/a", "one"), ("/nfs/b", "two")]);
            Hung { files, server: Arc::new(std::sync::Barrier::new(2)) }
        }

        fn wait(&self, path: &Path) {
            if path.starts_with("/nfs") {
                self.server.wait();
            }
        }
    }

    impl Files for Hung {
        fn read(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
            self.wait(path);
            self.files.read(path, limit)
        }

        fn host(&self) -> String {
            String::new()
        }

        fn exists(&self, path: &Path) -> bool {
            self.wait(path);
            self.files.exists(path)
        }

        fn list(&self, directory: &Path, limit: usize) -> io::Result<Vec<String>> {
            self.wait(directory);
            self.files.list(directory, limit)
        }
    }

    #[test]
    fn what_hangs_is_given_up_once_and_named_and_the_next_time_is_not_its_hostage() {
        static LEFT_BEHIND: AtomicUsize = AtomicUsize::new(0);
        let limit = Duration::from_millis(50);
        let why = |files: &TimeLimited<Hung>, path: &str| {
            files.read(Path::new(path), 100).map_err(|error| in_words(&error))
        };
        let mut hung = Vec::new();
        for waiting in 1..=MAX_LEFT_BEHIND {
            let hangs = Hung::new();
            let files = TimeLimited::new(hangs.clone(), limit, &LEFT_BEHIND);
            assert_eq!(why(&files, "/etc/a"), Ok(b"one".to_vec()));
            let silence = "cannot be read: its file system has not answered within 0 seconds".to_owned();
            assert_eq!(why(&files, "/nfs/b"), Err(silence));
            let after =
                "is not read: /nfs/b took all the time there is for reading a configuration".to_owned();
            assert_eq!(why(&files, "/etc/a"), Err(after));
            assert!(files.exists(Path::new("/nowhere")), "it cannot be known");
            assert!(files.is_silent());
            assert_eq!(LEFT_BEHIND.load(Ordering::SeqCst), waiting);
            hung.push(hangs);
        }
        let files = TimeLimited::new(Hung::new(), limit, &LEFT_BEHIND);
        let refused = why(&files, "/etc/a").unwrap_err();
        assert!(refused.starts_with("is not read: 4 earlier reads"), "{refused}");
        for hangs in hung {
            hangs.server.wait();
        }
        while LEFT_BEHIND.load(Ordering::SeqCst) > 0 {
            std::thread::yield_now();
        }
        assert_eq!(why(&files, "/etc/a"), Ok(b"one".to_vec()));
    }
}
