//! One failover, measured: from what was done to the survivor's first word and its VIP.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::frame::{Advert, Message};
use super::segment::Segment;
use crate::lab::Verdict;

/// A failover to wait for: VRID, VIP, and the directors before and after.
#[derive(Clone, Debug)]
pub(crate) struct Case<'a> {
    pub segment: &'a Segment,
    pub vrid: u8,
    pub vip: IpAddr,
    /// Whom the VIP leaves: the source of its advertisements.
    pub from: IpAddr,
    /// The host that is to get it, and the source of its advertisements.
    pub survivor: &'a str,
    pub to: IpAddr,
    /// How long it may take.
    pub patience: Duration,
}

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failover {
    /// When it was done.
    pub begun: Instant,
    /// Until the survivor has the VIP.
    pub vip: Duration,
    /// Until the survivor's first advertisement.
    pub advert: Duration,
    /// Until its first gratuitous ARP or neighbour advertisement.
    pub announced: Duration,
    /// From the last advertisement of the old Master, with any priority, to the survivor's first.
    pub silence: Duration,
    /// Whether that last word was a priority_zero, priority 0.
    pub priority_zero: bool,
}

impl fmt::Display for Failover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |d: Duration| d.as_secs_f64() * 1e3;
        write!(
            f,
            "VIP after {:.3} ms, advert {:.3}, announced {:.3}; silence {:.3} ms after {}",
            ms(self.vip),
            ms(self.advert),
            ms(self.announced),
            ms(self.silence),
            if self.priority_zero { "priority 0" } else { "an advert" }
        )
    }
}

impl Case<'_> {
    /// Does it, and waits until the survivor speaks, holds the VIP and has announced it.
    ///
    /// # Errors
    /// When it does not in time.
    pub(crate) fn measure(&self, act: impl FnOnce() -> Verdict) -> Result<Failover, String> {
        let begun = Instant::now();
        act()?;
        let tap = &self.segment.tap;
        let is_first = |a: &Advert| a.vrid == self.vrid && a.source == self.to && a.priority > 0;
        let what = format!("{} speaks for VRID {}", self.survivor, self.vrid);
        let (spoke, _) = tap.wait_advert(&what, begun, self.patience, is_first)?;
        let got = self.segment.holders.wait(self.survivor, self.vip, true, begun, self.patience)?;
        let vip = self.vip;
        let announced = tap.wait("the VIP is announced", spoke, self.patience, |p| match p.message {
            Message::GratuitousArp { address, .. } if vip == address => Some(p.at),
            Message::NeighbourAdvertisement { address, .. } if vip == address => Some(p.at),
            _ => None,
        })?;
        let long_ago = begun.checked_sub(Duration::from_secs(120)).unwrap_or(begun);
        let before = tap.adverts(self.vrid, long_ago, spoke);
        let last = before.into_iter().rev().find(|(at, a)| a.source == self.from && *at <= spoke);
        let (last, word) = last.ok_or_else(|| format!("{} never spoke before", self.from))?;
        Ok(Failover {
            begun,
            vip: got.saturating_duration_since(begun),
            advert: spoke.saturating_duration_since(begun),
            announced: announced.saturating_duration_since(begun),
            silence: spoke.saturating_duration_since(last),
            priority_zero: word.priority == 0,
        })
    }
}
