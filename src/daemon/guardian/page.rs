//! Memory that the daemon and its guardian share: two drafts of a crash plan, and a word that says which one is valid.
//!
//! The daemon writes the draft that does not count, then the word; killed in between, the older plan is valid, so
//! half a plan is never carried out. What a plan contains is [`super::plan`]'s.

use std::io;
use std::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

use crate::time::Instant;

/// Bytes of a draft: some thousands of addresses and the priority-0 advertisements of 255 virtual routers.
const DRAFT: usize = 512 << 10;
/// No plan is valid.
const NONE: u32 = 0;

/// See the module. Zeroed memory is one, without a plan.
#[repr(C)]
pub(super) struct Page {
    /// Which draft counts: 1, 2, or [`NONE`].
    counts: AtomicU32,
    /// Errno of what keeps the guardian from acting; 0 nothing.
    trouble: AtomicI32,
    /// How often a plan was published.
    publications: AtomicU32,
    /// When the daemon last showed that it is alive, in nanoseconds.
    beat: AtomicU64,
    /// For how long it may show nothing, in nanoseconds; 0: without limit.
    silence: AtomicU64,
    /// Handed over: until when a successor has to claim, in nanoseconds; 0: it is not handed over.
    claim_by: AtomicU64,
    /// Until when one that has claimed has to be done, in nanoseconds.
    done_by: AtomicU64,
    drafts: [Draft; 2],
}

#[repr(C)]
struct Draft {
    length: AtomicUsize,
    bytes: [AtomicU8; DRAFT],
}

impl std::fmt::Debug for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Page").field("counts", &self.counts).field("trouble", &self.trouble).finish()
    }
}

impl Page {
    /// Maps one, for as long as the process lives.
    pub(super) fn map() -> io::Result<&'static Page> {
        let flags = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses a new mapping, aligned to pages, zeroed and as long as a Page, that nothing ever
        // unmaps; a Page is made of atomics only, for which zero is a value and other processes' writes are no race.
        #[allow(unsafe_code)]
        unsafe {
            let at = mmap_anonymous(std::ptr::null_mut(), size_of::<Page>(), flags, MapFlags::SHARED)?;
            Ok(&*at.cast::<Page>())
        }
    }

    /// Makes this the valid plan; whether it fitted. What is cut off is for the reader to notice.
    pub(super) fn publish(&self, plan: &[u8]) -> bool {
        let next = if self.counts.load(Ordering::Relaxed) == 1 { 2 } else { 1 };
        let Some(draft) = self.draft(next) else { return false };
        for (cell, byte) in draft.bytes.iter().zip(plan) {
            cell.store(*byte, Ordering::Relaxed);
        }
        draft.length.store(plan.len().min(DRAFT), Ordering::Relaxed);
        self.counts.store(next, Ordering::Release);
        self.publications.fetch_add(1, Ordering::Release);
        plan.len() <= DRAFT
    }

    /// No plan is valid any more.
    pub(super) fn withdraw(&self) {
        self.counts.store(NONE, Ordering::Release);
    }

    /// Bytes of the valid plan from `at` on, into `buffer`: how many there were.
    pub(super) fn read(&self, at: usize, buffer: &mut [u8]) -> usize {
        let Some(draft) = self.draft(self.counts.load(Ordering::Acquire)) else { return 0 };
        let end = draft.length.load(Ordering::Relaxed).min(DRAFT);
        let cells = draft.bytes.get(at..end).unwrap_or_default();
        for (byte, cell) in buffer.iter_mut().zip(cells) {
            *byte = cell.load(Ordering::Relaxed);
        }
        cells.len().min(buffer.len())
    }

    /// How often a plan was published so far.
    pub(super) fn publications(&self) -> u32 {
        self.publications.load(Ordering::Acquire)
    }

    /// The daemon is alive.
    pub(super) fn beat(&self, now: Instant) {
        self.beat.store(now.as_nanos(), Ordering::Release);
    }

    /// For how long it may be silent; None: without limit.
    pub(super) fn allow_silence(&self, limit: Option<Duration>) {
        let nanos = limit.map_or(0, |limit| u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX));
        self.silence.store(nanos, Ordering::Release);
    }

    /// When it has been silent for too long, unless it shows that it is alive; None: never.
    pub(super) fn silent_at(&self) -> Option<Instant> {
        let nanos = Some(self.silence.load(Ordering::Acquire)).filter(|nanos| *nanos > 0)?;
        Some(Instant::from_nanos(self.beat.load(Ordering::Acquire)) + Duration::from_nanos(nanos))
    }

    /// The daemon hands over: until when a successor has to claim, and to be done.
    pub(super) fn hand_over(&self, claim_by: Instant, done_by: Instant) {
        self.done_by.store(done_by.as_nanos(), Ordering::Release);
        self.claim_by.store(claim_by.as_nanos().max(1), Ordering::Release);
    }

    /// Until when a successor has to claim, and to be done; None: nothing is handed over.
    pub(super) fn handed_over(&self) -> Option<(Instant, Instant)> {
        let claim_by = Some(self.claim_by.load(Ordering::Acquire)).filter(|nanos| *nanos > 0)?;
        Some((Instant::from_nanos(claim_by), Instant::from_nanos(self.done_by.load(Ordering::Acquire))))
    }

    /// The guardian says what keeps it from acting.
    pub(super) fn complain(&self, errno: i32) {
        self.trouble.store(errno, Ordering::Relaxed);
    }

    /// What keeps the guardian from acting.
    pub(super) fn trouble(&self) -> Option<i32> {
        Some(self.trouble.load(Ordering::Relaxed)).filter(|errno| *errno != 0)
    }

    fn draft(&self, number: u32) -> Option<&Draft> {
        let [first, second] = &self.drafts;
        match number {
            1 => Some(first),
            2 => Some(second),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_valid_plan_is_the_last_whole_one() {
        let page = Page::map().unwrap();
        let mut buffer = [0; 8];
        assert_eq!(page.read(0, &mut buffer), 0);
        assert!(page.publish(b"first"));
        // A daemon that dies while it writes the next one.
        let half = page.draft(2).unwrap();
        half.bytes[0].store(b'x', Ordering::Relaxed);
        assert_eq!((page.read(0, &mut buffer), &buffer[..5]), (5, &b"first"[..]));
        assert!(page.publish(b"second"));
        assert_eq!((page.read(3, &mut buffer), &buffer[..3]), (3, &b"ond"[..]));
        page.withdraw();
        assert_eq!(page.read(0, &mut buffer), 0);
    }

    #[test]
    fn a_plan_that_is_too_long_counts_as_far_as_it_fits() {
        let page = Page::map().unwrap();
        assert!(!page.publish(&vec![7; DRAFT + 1]));
        assert_eq!(page.read(DRAFT - 1, &mut [0; 8]), 1);
    }
}
