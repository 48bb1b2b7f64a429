//! The checkers that are not built: their blocks are read and checked, and then refused by `real_server`.

use crate::config::timing::HasTiming;
use crate::syntax::keyword::{Form, Keyword, Kind, Listed, Reader, Stance, Table, Yaml};
use crate::syntax::tree::Node;

use super::{CONNECTION, CheckerOptions};

/// Keywords of SMTP_CHECK.
pub(crate) const SMTP_CHECK: Table<CheckerOptions> = Table::of(
    "SMTP_CHECK",
    "SMTP_CHECK",
    &[
        CONNECTION,
        CheckerOptions::TIMING,
        &[
            word("helo_name", NAME, "Name to greet with."),
            Keyword::new(
                "host",
                Kind::Block { what: "", max: 0, read: |_: &mut CheckerOptions, n, r| read(&HOST, n, r) },
                "Another address to check.",
            )
            .but(Stance::Deprecated("write its words in SMTP_CHECK itself, and one SMTP_CHECK for each host"))
            .yaml(Yaml::Absent),
        ],
    ],
);

const HOST: Table<CheckerOptions> = Table::of("host", "host", &[CONNECTION]);

/// Keywords of DNS_CHECK.
pub(crate) const DNS_CHECK: Table<CheckerOptions> = Table::of(
    "DNS_CHECK",
    "DNS_CHECK",
    &[
        CONNECTION,
        CheckerOptions::TIMING,
        &[
            word(
                "type",
                Form::OneOf(&["A", "NS", "CNAME", "SOA", "MX", "TXT", "AAAA", "RRSIG", "DNSKEY"]),
                "Type of the records to ask for.",
            ),
            word("name", NAME, "Name to ask for."),
        ],
    ],
);

/// Keywords of MISC_CHECK.
pub(crate) const MISC_CHECK: Table<CheckerOptions> = Table::of(
    "MISC_CHECK",
    "MISC_CHECK",
    &[
        CheckerOptions::TIMING,
        &[
            word("misc_path", COMMAND, "The command to run."),
            word("misc_timeout", COUNT, "Longest time a run may take, in seconds."),
            word("misc_dynamic", Form::Flag, "Its exit status is the weight."),
            word("user", Form::Words { what: "USER [GROUP]", min: 1, max: 2 }, "Whom it runs as."),
            word("log_all_failures", Form::Flag, "Log every failing check, not only the one that decides."),
        ],
    ],
);

/// Keywords of UDP_CHECK.
pub(crate) const UDP_CHECK: Table<CheckerOptions> = Table::of(
    "UDP_CHECK",
    "UDP_CHECK",
    &[
        CONNECTION,
        CheckerOptions::TIMING,
        &[
            word("payload", Form::Words { what: "HEX...", min: 1, max: 1024 }, "What to send."),
            word(
                "require_reply",
                Form::Words { what: "[HEX...]", min: 0, max: 1024 },
                "What the answer must begin with.",
            ),
            word("min_reply_length", COUNT, "Least bytes of an answer."),
            word("max_reply_length", COUNT, "Most bytes of an answer."),
        ],
    ],
);

/// Keywords of PING_CHECK.
pub(crate) const PING_CHECK: Table<CheckerOptions> =
    Table::of("PING_CHECK", "PING_CHECK", &[CONNECTION, CheckerOptions::TIMING]);

/// Keywords of FILE_CHECK.
pub(crate) const FILE_CHECK: Table<CheckerOptions> = Table::of(
    "FILE_CHECK",
    "FILE_CHECK",
    &[&[
        word("track_file", NAME, "The track_file whose number counts."),
        word("weight", WEIGHT, "What its number is multiplied with."),
    ]],
);

/// Keywords of BFD_CHECK.
pub(crate) const BFD_CHECK: Table<CheckerOptions> = Table::of(
    "BFD_CHECK",
    "BFD_CHECK",
    &[&[word("name", NAME, "The bfd_instance."), word("alpha", Form::Flag, "Down until the session is up.")]],
);

/// The lines of the listing.
pub(crate) fn listing() -> Vec<Listed> {
    let tables = [&SMTP_CHECK, &DNS_CHECK, &MISC_CHECK, &UDP_CHECK, &PING_CHECK, &FILE_CHECK, &BFD_CHECK];
    let listed = tables.iter().flat_map(|table| table.listing_not_yet("this check is not built"));
    // What YAML alone has is nothing of these blocks.
    listed.filter(|keyword| !keyword.names.is_empty()).collect()
}

/// Reads the block of such a checker, for what is wrong with it.
pub(crate) fn read(table: &Table<CheckerOptions>, node: &Node, reader: &mut Reader<'_>) {
    reader.block(table, node.statements(), &mut CheckerOptions::default());
}

const COMMAND: Form =
    Form::Words { what: "COMMAND [USER [GROUP]], a command of several words in quotes", min: 1, max: 3 };
const NAME: Form = Form::Words { what: "NAME", min: 1, max: 1 };
const COUNT: Form = Form::Number { min: 0, max: u32::MAX, is_optional: false };
const WEIGHT: Form =
    Form::Words { what: "a whole number from -254 to 254 [reverse|noreverse]", min: 1, max: 2 };

/// A word whose value is looked at.
const fn word<T>(name: &'static str, form: Form, doc: &'static str) -> Keyword<T> {
    kept(name, Kind::Form(form), doc)
}

const fn kept<T>(name: &'static str, kind: Kind<T>, doc: &'static str) -> Keyword<T> {
    Keyword::new(name, kind, doc).yaml(Yaml::Absent)
}
