//! A host: a network namespace and the threads and programs that live in it.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::process::{Child, Command};
use std::thread::JoinHandle;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::Verdict;

/// A host. Cheap to clone; the namespace lives as long as the guest.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    name: String,
}

impl Host {
    /// The host of this name; its namespace is /run/netns/NAME.
    pub(crate) fn new(name: &str) -> Host {
        Host { name: name.to_owned() }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs `body` on a thread that lives in this host, and waits for it.
    ///
    /// # Errors
    /// What `body` answers; or when the host cannot be entered or `body` panics.
    pub(crate) fn enter<T: Send>(
        &self,
        body: impl FnOnce() -> Result<T, String> + Send,
    ) -> Result<T, String> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.move_in()?;
                body()
            });
            thread.join().unwrap_or_else(|_| Err(format!("{}: a thread panicked", self.name)))
        })
    }

    /// Starts a thread that lives in this host and outlives the call.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        body: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> JoinHandle<Result<T, String>> {
        let host = self.clone();
        std::thread::spawn(move || {
            host.move_in()?;
            body()
        })
    }

    /// Starts a program in this host.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(&self, command: &mut Command) -> Result<Child, String> {
        let program = command.get_program().to_string_lossy().into_owned();
        self.enter(move || command.spawn().map_err(|e| format!("{program}: {e}")))
    }

    /// Sets kernel parameters of this host, `net.ipv4.ip_forward` style.
    ///
    /// # Errors
    /// When one does not exist or refuses the value.
    pub(crate) fn sysctl(&self, settings: &[(&str, &str)]) -> Verdict {
        self.enter(|| set_sysctls(settings))
    }

    /// Moves the calling thread into this host.
    fn move_in(&self) -> Verdict {
        let path = format!("/run/netns/{}", self.name);
        let file = File::open(&path).map_err(|e| format!("{path}: {e}"))?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|e| format!("{path}: {e}"))
    }
}

/// Sets kernel parameters in the calling thread's namespace.
///
/// # Errors
/// When one does not exist or refuses the value.
pub(crate) fn set_sysctls(settings: &[(&str, &str)]) -> Verdict {
    for (name, value) in settings {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        fs::write(&path, value).map_err(|e| format!("{path}: {e}"))?;
    }
    Ok(())
}
