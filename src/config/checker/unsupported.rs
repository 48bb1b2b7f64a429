//! The checkers that are not built: their blocks are read, for what is wrong with them, and then refused.
//!
//! A checker that gets built moves to a file of its own, as [`tcp`](super::tcp) has one.

use std::net::IpAddr;

use super::{Ask, CheckerBlock, CheckerForm, Inherited};
use crate::check::spec::Question;
use crate::config::options::options;
use crate::config::timing::TimingOptions;
use crate::config::vrrp::command::{self, COMMAND, CommandOptions, UserOptions};
use crate::syntax::keyword::{Reader, Slot, Stance, Table};

const REFUSED: Stance = Stance::NotYetError("without this check the real server would always count as up");

/// A checker that is not built, with the lists of its keywords.
macro_rules! unsupported {
    ($name:ident, $keyword:literal, $type:literal, $doc:literal, [$($list:expr),+]) => {
        impl CheckerForm for $name {
            const KEYWORD: &'static str = $keyword;
            const TYPE: &'static str = $type;
            const EXAMPLE: &'static str = "";
            const DOC: &'static str = $doc;
            const STANCE: Stance = REFUSED;
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
    /// MISC_CHECK as it was written.
    pub(in crate::config) struct Misc {
        /// The command to run.
        command: Slot<CommandOptions> = words(=> command::read; "misc_path", COMMAND, 1, 3).not_yaml();
        /// Longest time a run may take, in seconds.
        timeout: Slot<u32> = number("misc_timeout", 0, u32::MAX).not_yaml();
        /// Its exit status is the weight.
        is_dynamic: Slot<bool> = flag("misc_dynamic").not_yaml();
        /// User and group of the command.
        user: Slot<UserOptions> = words(=> command::read_user; "user", "USER [GROUP]", 1, 2).not_yaml();
        /// Log every failing check, not only the one that decides.
        log_all_failures: Slot<bool> = flag("log_all_failures").not_yaml();
    }
}

unsupported!(
    Misc,
    "MISC_CHECK",
    "misc",
    "Up while a script says so.",
    [TimingOptions::keywords(), Misc::keywords()]
);

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

options! {
    /// BFD_CHECK as it was written.
    pub(in crate::config) struct Bfd {
        /// The bfd_instance.
        name: Slot<String> = text("name", "NAME", 255).not_yaml();
        /// Down until the session is up.
        alpha: Slot<bool> = flag("alpha").not_yaml();
    }
}

unsupported!(Bfd, "BFD_CHECK", "bfd", "Up while a BFD session is.", [Bfd::keywords()]);
