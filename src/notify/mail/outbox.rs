//! Which changes the next mail contains, and when it is sent: in order, bounded in number and rate, with retries.
//!
//! [`BURST`] changes in a row have a mail of their own, and one more in each [`REFILL`]. When more than that wait, one
//! mail contains all of them: a thousand servers that fail at once are not a thousand mails. A mail that may yet be
//! taken is tried again, for as long as it takes; what waits is bounded, and the oldest goes. A mail that is refused
//! for good is not tried again.

use std::collections::VecDeque;
use std::time::Duration;

use super::content::MailContent;
use crate::time::Instant;

/// Changes that wait.
pub(crate) const MAX_WAITING: usize = 1024;
/// Mails in a row.
pub(crate) const BURST: u32 = 20;
/// One more mail in each of these.
pub(crate) const REFILL: Duration = Duration::from_secs(5);
/// The pause after a mail that no server accepted; each is twice as long as the one before.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// Longest such pause.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// A change, and when it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DatedContent {
    /// The words of the mail.
    pub content: MailContent,
    pub date: Duration,
}

/// Changes by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// In a mail that was accepted.
    pub sent: u64,
    /// In a mail that was refused, or not taken before the end.
    pub failed: u64,
    /// Went to make room.
    pub dropped: u64,
    /// Mails that were taken.
    pub mails: u64,
}

/// Why a mail was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeliveryFailure {
    /// Whether it will never be.
    pub is_final: bool,
    /// In the operator's words, with the next step.
    pub reason: String,
}

/// What is to be logged about a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// Nothing: it was taken, or is still not.
    Nothing,
    /// It was not taken for a new reason, and is tried again.
    Failing {
        reason: String,
        /// Changes that wait.
        waiting: usize,
        /// When it is tried again.
        pause: Duration,
    },
    /// It was refused for good.
    Refused {
        reason: String,
        /// Changes it contained.
        changes: usize,
    },
    /// It was accepted, but not for all recipients.
    Partly {
        /// Which recipients were refused, and why.
        reason: String,
    },
    /// Mails are taken again.
    Recovered {
        /// Changes that went meanwhile to make room.
        dropped: u64,
    },
}

/// All changes that wait to be sent.
#[derive(Debug)]
pub(crate) struct Outbox {
    waiting: VecDeque<DatedContent>,
    sending: Vec<DatedContent>,
    tokens: u32,
    /// When the last token came.
    refilled: Instant,
    retry: Option<Retry>,
    counts: Counts,
    /// Of these, dropped since mails were last taken.
    unreported: u64,
    last_error: Option<(Instant, String)>,
    is_ending: bool,
}

#[derive(Debug)]
struct Retry {
    at: Instant,
    pause: Duration,
    reason: String,
}

impl Outbox {
    pub(crate) fn new(now: Instant) -> Outbox {
        Outbox {
            waiting: VecDeque::new(),
            sending: Vec::new(),
            tokens: BURST,
            refilled: now,
            retry: None,
            counts: Counts::default(),
            unreported: 0,
            last_error: None,
            is_ending: false,
        }
    }

    /// Adds a change; true when the first one since mails were last taken is dropped for it.
    pub(crate) fn push(&mut self, dated: DatedContent) -> bool {
        self.waiting.push_back(dated);
        let before = self.unreported;
        self.make_room();
        before == 0 && self.unreported > 0
    }

    /// The changes of the next mail, if one may be sent now: it is under way from now on.
    pub(crate) fn begin(&mut self, now: Instant) -> Option<&[DatedContent]> {
        if !self.sending.is_empty() || self.waiting.is_empty() {
            return None;
        }
        if !self.is_ending && self.retry.as_ref().is_some_and(|retry| retry.at > now) {
            return None;
        }
        self.refill(now);
        if self.tokens == 0 && !self.is_ending {
            return None;
        }
        let is_crowd = self.is_ending || self.waiting.len() > self.tokens as usize;
        let count = if is_crowd { self.waiting.len() } else { 1 };
        self.tokens = self.tokens.saturating_sub(1);
        self.sending = self.waiting.drain(..count).collect();
        Some(&self.sending)
    }

    /// The mail under way was taken, by all or with a complaint, or was not.
    pub(crate) fn ended(
        &mut self,
        now: Instant,
        result: Result<Option<String>, DeliveryFailure>,
    ) -> Delivery {
        let sending = std::mem::take(&mut self.sending);
        let changes = sending.len() as u64;
        match result {
            Ok(complaint) => {
                self.counts.sent += changes;
                self.counts.mails += 1;
                let dropped = std::mem::take(&mut self.unreported);
                let was_failing = self.retry.take().is_some();
                if let Some(reason) = complaint {
                    self.last_error = Some((now, reason.clone()));
                    return Delivery::Partly { reason };
                }
                if was_failing { Delivery::Recovered { dropped } } else { Delivery::Nothing }
            }
            Err(DeliveryFailure { is_final, reason }) => {
                self.last_error = Some((now, reason.clone()));
                if is_final || self.is_ending {
                    self.counts.failed += changes;
                    return Delivery::Refused { reason, changes: sending.len() };
                }
                for dated in sending.into_iter().rev() {
                    self.waiting.push_front(dated);
                }
                self.make_room();
                let before = self.retry.take();
                let is_new = before.as_ref().is_none_or(|before| before.reason != reason);
                let pause = before.map_or(FIRST_PAUSE, |before| (before.pause * 2).min(LONGEST_PAUSE));
                self.retry = Some(Retry { at: now + pause, pause, reason: reason.clone() });
                if is_new {
                    Delivery::Failing { reason, waiting: self.waiting.len(), pause }
                } else {
                    Delivery::Nothing
                }
            }
        }
    }

    /// When there is something to begin that could not be begun before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        if !self.sending.is_empty() || self.waiting.is_empty() {
            return None;
        }
        let token = if self.tokens > 0 { Instant::ZERO } else { self.refilled + REFILL };
        Some(self.retry.as_ref().map_or(token, |retry| retry.at.max(token)))
    }

    /// There is another server: it is tried at once.
    pub(crate) fn retry_now(&mut self) {
        self.retry = None;
    }

    /// No mails are configured any more.
    pub(crate) fn clear(&mut self) {
        self.counts.dropped += self.waiting.len() as u64;
        self.waiting.clear();
        self.retry = None;
    }

    /// The daemon ends: what waits is sent in one mail, at once, and no more than once.
    pub(crate) fn end(&mut self) {
        self.is_ending = true;
    }

    /// Whether nothing waits or is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.sending.is_empty()
    }

    /// Changes that wait or are under way.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len() + self.sending.len()
    }

    /// Changes by what became of them.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// What went wrong last, and when.
    pub(crate) fn last_error(&self) -> Option<(Instant, &str)> {
        self.last_error.as_ref().map(|(at, reason)| (*at, reason.as_str()))
    }

    /// Whether mails are not taken at the moment.
    pub(crate) fn is_failing(&self) -> bool {
        self.retry.is_some()
    }

    /// When too many wait the oldest is dropped: a late reader needs the current state.
    fn make_room(&mut self) {
        while self.waiting.len() > MAX_WAITING {
            self.waiting.pop_front();
            self.counts.dropped += 1;
            self.unreported += 1;
        }
    }

    fn refill(&mut self, now: Instant) {
        while self.tokens < BURST && self.refilled + REFILL <= now {
            self.tokens += 1;
            self.refilled = self.refilled + REFILL;
        }
        if self.tokens == BURST {
            self.refilled = now;
        }
    }
}

#[cfg(test)]
mod tests;
