//! The checkers that are not built: their blocks are read, for what is wrong with them, and then refused.
//!
//! A checker that gets built moves to a file of its own, as [`tcp`](super::tcp) has one.

use std::net::IpAddr;

use super::{Ask, CheckerBlock, CheckerForm, Inherited};
use crate::check::spec::Question;
use crate::config::options::options;
use crate::syntax::keyword::{Reader, Slot, Support, Table};

const REFUSED: Support = Support::NotYetError("without this check the real server would always count as up");

/// A checker that is not built, with the lists of its keywords.
macro_rules! unsupported {
    ($name:ident, $keyword:literal, $type:literal, $doc:literal, [$($list:expr),+]) => {
        impl CheckerForm for $name {
            const KEYWORD: &'static str = $keyword;
            const TYPE: &'static str = $type;
            const EXAMPLE: &'static str = "";
            const DOC: &'static str = $doc;
            const SUPPORT: Support = REFUSED;
            const TABLE: Table<CheckerBlock<$name>> = Table::of($keyword, $keyword, &[$($list),+]);
        }

        impl Ask for $name {
            fn question(&self, _: IpAddr, _: &Inherited<'_>, _: &mut Reader<'_>) -> Option<Question> {
                None
            }
        }
    };
}

options! {
    /// FILE_CHECK as it was written.
    pub(in crate::config) struct File {
        /// The track_file whose number counts.
        name: Slot<String> = text("track_file", "NAME", 255).not_yaml();
        /// What its number is multiplied with.
        _ = no_op("weight", "a whole number from -254 to 254 [reverse|noreverse]", 1, 2).not_yaml();
    }
}

unsupported!(File, "FILE_CHECK", "file", "Weight from the number in a file.", [File::keywords()]);
