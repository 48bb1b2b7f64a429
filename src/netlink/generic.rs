//! A conversation with one family of generic netlink, found by its name.

use neli::consts::genl::{CtrlAttr, CtrlCmd};
use neli::consts::socket::NlFamily;
use rustix::io::Errno;

use super::attribute::{Malformed, attributes};
use super::conversation::{Conversation, DumpEnd, Refused};
use super::request::{DUMP, Request};

/// `nlmsg_type` of the controller, which knows every family's number (GENL_ID_CTRL).
const CONTROLLER: u16 = 0x10;
/// Length of `struct genlmsghdr`: command, version, reserved.
pub(crate) const HEADER: usize = 4;

/// Why a family cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoFamily {
    Absent,
    /// The controller refused to answer, positive errno.
    Refused(i32),
    /// The conversation failed.
    Transport(String),
}

/// A request of a family whose number is filled in when it is sent.
pub(crate) fn request(command: impl Into<u8>, version: u8) -> Request {
    Request::new(0, 0, &[command.into(), version, 0, 0])
}

/// The question for a family's number.
pub(crate) fn get_family(name: &str) -> Request {
    let mut request = request(CtrlCmd::Getfamily, 1).addressed(CONTROLLER, 0);
    request.text(CtrlAttr::FamilyName, name);
    request
}

/// See the module.
pub(crate) struct Generic {
    conversation: Conversation,
    family: u16,
}

impl Generic {
    /// Opens a conversation and finds the family.
    pub(crate) fn open(name: &str) -> Result<Generic, NoFamily> {
        let conversation = Conversation::open(NlFamily::Generic, 1).map_err(NoFamily::Transport)?;
        let mut this = Generic { conversation, family: CONTROLLER };
        this.family = this.find(name)?;
        Ok(this)
    }

    /// Whether the family still has the number that this conversation uses.
    pub(crate) fn is_current(&mut self, name: &str) -> Result<bool, NoFamily> {
        match self.find(name) {
            Ok(number) => Ok(number == self.family),
            Err(NoFamily::Absent) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn find(&mut self, name: &str) -> Result<u16, NoFamily> {
        let mut number = None;
        let refused = self.conversation.batch(&[get_family(name)], |_, kind, payload| {
            number = Some(family_number(content(CONTROLLER, kind, payload)?)?);
            Ok(())
        });
        match refused.map_err(NoFamily::Transport)?.first() {
            Some(refused) if refused.errno == Errno::NOENT.raw_os_error() => Err(NoFamily::Absent),
            Some(refused) => Err(NoFamily::Refused(refused.errno)),
            None => number.ok_or_else(|| NoFamily::Transport("the controller named no family number".into())),
        }
    }

    /// As [`Conversation::batch`]; `on_data` gets what follows the generic header.
    pub(crate) fn batch(
        &mut self,
        requests: Vec<Request>,
        mut on_data: impl FnMut(usize, &[u8]) -> Result<(), Malformed>,
    ) -> Result<Vec<Refused>, String> {
        let family = self.family;
        let requests: Vec<_> = requests.into_iter().map(|request| request.addressed(family, 0)).collect();
        self.conversation
            .batch(&requests, |index, kind, payload| on_data(index, content(family, kind, payload)?))
    }

    /// As [`Conversation::dump`]; `on_data` gets what follows the generic header.
    pub(crate) fn dump<T>(
        &mut self,
        request: Request,
        empty: impl Fn() -> T,
        on_data: impl Fn(&mut T, &[u8]) -> Result<(), Malformed>,
    ) -> Result<(T, DumpEnd), String> {
        let family = self.family;
        self.conversation.dump(&request.addressed(family, DUMP), empty, |all, kind, payload| {
            on_data(all, content(family, kind, payload)?)
        })
    }
}

/// What follows the generic header of a message of the family.
fn content(family: u16, kind: u16, payload: &[u8]) -> Result<&[u8], Malformed> {
    if kind != family {
        return Err(Malformed("it came from another family"));
    }
    payload.get(HEADER..).ok_or(Malformed("it is cut off"))
}

/// The number in the controller's answer.
pub(crate) fn family_number(message: &[u8]) -> Result<u16, Malformed> {
    for attribute in attributes(message) {
        let attribute = attribute?;
        if attribute.kind == u16::from(CtrlAttr::FamilyId) {
            return attribute.u16();
        }
    }
    Err(Malformed("the controller's answer has no family number"))
}

#[cfg(test)]
mod tests {
    //! The controller of generic netlink itself answers every process, so these need no module and no privilege.

    use super::*;

    #[test]
    fn a_family_that_exists_is_found_and_another_is_not() {
        assert_eq!(Generic::open("no-such-family").err(), Some(NoFamily::Absent));
        let mut c = Generic::open("nlctrl").unwrap();
        assert_eq!(c.family, CONTROLLER);
        assert_eq!(c.is_current("nlctrl"), Ok(true));
        assert_eq!(c.is_current("no-such-family"), Ok(false));
    }

    #[test]
    fn a_dump_ends_and_leaves_the_conversation_ready_for_the_next_request() {
        let mut c = Generic::open("nlctrl").unwrap();
        // The controller's question without a name lists every family.
        let all = c.dump(request(CtrlCmd::Getfamily, 1), Vec::new, |all, message| {
            all.push(family_number(message)?);
            Ok(())
        });
        let (all, end) = all.unwrap();
        assert_eq!(end, DumpEnd::Complete);
        assert!(all.contains(&CONTROLLER));
        assert_eq!(c.is_current("nlctrl"), Ok(true));
    }
}
