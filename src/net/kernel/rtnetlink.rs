//! The conversation with rtnetlink, opened anew after an error.

use neli::consts::socket::NlFamily;

use crate::netlink::attribute::Malformed;
use crate::netlink::conversation::{Conversation, DumpEnd, Refused};
use crate::netlink::request::Request;

/// See the module.
pub(super) struct Rtnetlink {
    /// None after an error, until the next request opens another.
    conversation: Option<Conversation>,
}

impl Rtnetlink {
    pub(super) fn open() -> Result<Rtnetlink, String> {
        Ok(Rtnetlink { conversation: Some(open()?) })
    }

    pub(super) fn is_open(&self) -> bool {
        self.conversation.is_some()
    }

    /// Performs requests in order and returns the refused ones, ascending.
    ///
    /// # Errors
    /// A sentence, when the outcome is unknown.
    pub(super) fn batch(&mut self, requests: &[Request]) -> Result<Vec<Refused>, String> {
        // Some kernels echo what was made.
        self.converse(|conversation| conversation.batch(requests, |_, _, _| Ok(())))
    }

    /// Reads a table; `decode` gets the payload of each message.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn list<T, I: IntoIterator<Item = T>>(
        &mut self,
        request: &Request,
        decode: impl Fn(&[u8]) -> Result<I, Malformed>,
    ) -> Result<Vec<T>, String> {
        let read = |all: &mut Vec<T>, _, payload: &[u8]| {
            all.extend(decode(payload)?);
            Ok(())
        };
        self.converse(|conversation| match conversation.dump(request, Vec::new, read)? {
            // Events report what changed meanwhile.
            (all, DumpEnd::Complete | DumpEnd::Interrupted) => Ok(all),
            (_, DumpEnd::Refused(errno)) => Err(super::in_words(errno, None)),
        })
    }

    fn converse<T>(
        &mut self,
        what: impl FnOnce(&mut Conversation) -> Result<T, String>,
    ) -> Result<T, String> {
        let mut conversation = self.conversation.take().map_or_else(open, Ok)?;
        let outcome = what(&mut conversation).map_err(in_rtnetlink)?;
        self.conversation = Some(conversation);
        Ok(outcome)
    }
}

fn open() -> Result<Conversation, String> {
    Conversation::open(NlFamily::Route, 1).map_err(in_rtnetlink)
}

fn in_rtnetlink(why: String) -> String {
    format!("rtnetlink: {why}")
}
