//! A deadline with the kernel's own precision: the event loop's timers count milliseconds.

use std::io;
use std::os::fd::OwnedFd;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

use crate::net::kernel::register;
use crate::time::Instant;

/// A deadline to wait for.
pub(super) struct Timer {
    fd: AsyncFd<OwnedFd>,
    set: Option<Instant>,
}

impl Timer {
    /// One that is not set. Needs the event loop's context.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn new() -> io::Result<Timer> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Timer { fd: register(timerfd_create(TimerfdClockId::Monotonic, flags)?)?, set: None })
    }

    /// Waits until then; for ever, when there is no deadline.
    pub(super) async fn sleep_until(&mut self, deadline: Option<Instant>) {
        if self.set != deadline {
            // Zero would switch it off; a nanosecond since boot is as good.
            let nanos = deadline.map_or(0, |at| at.as_nanos().max(1));
            let value = Timespec {
                tv_sec: i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX),
                tv_nsec: i64::try_from(nanos % 1_000_000_000).unwrap_or(0),
            };
            let spec = Itimerspec { it_interval: Timespec::default(), it_value: value };
            // It fails for values the kernel does not take only, and these are in range.
            let _ = timerfd_settime(&self.fd, TimerfdTimerFlags::ABSTIME, &spec);
            self.set = deadline;
        }
        loop {
            let Ok(mut ready) = self.fd.readable().await else { return };
            let read = ready.try_io(|fd| Ok(rustix::io::read(fd, &mut [0u8; 8])?));
            if read.is_ok() {
                self.set = None;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::daemon::clock;

    #[tokio::test]
    async fn a_deadline_is_met_more_than_once_and_may_lie_in_the_past() {
        let mut timer = Timer::new().unwrap();
        for _ in 0..3 {
            let deadline = clock::now() + Duration::from_micros(300);
            timer.sleep_until(Some(deadline)).await;
            assert!(clock::now() >= deadline);
            timer.sleep_until(Some(deadline)).await;
        }
        timer.sleep_until(Some(Instant::ZERO)).await;
    }

    #[tokio::test]
    async fn a_wait_that_was_given_up_does_not_end_a_later_one() {
        let mut timer = Timer::new().unwrap();
        let (soon, late) =
            (clock::now() + Duration::from_millis(1), clock::now() + Duration::from_millis(30));
        tokio::select! {
            biased;
            () = timer.sleep_until(Some(soon)) => {}
            () = std::future::ready(()) => {}
        }
        timer.sleep_until(Some(late)).await;
        assert!(clock::now() >= late);
    }
}
