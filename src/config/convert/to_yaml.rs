//! keepalived.conf to YAML.

use std::net::IpAddr;
use std::time::Duration;

use crate::config::checker::{is_checker, type_of};
use crate::config::load::Loaded;
use crate::config::regex;
use crate::config::timing::FALL;
use crate::config::virtual_server::DEFAULT_PERSISTENCE;
use crate::config::vrrp::line::{Behind, Line, split_by};
use crate::config::vrrp::{address, host, route};
use crate::syntax::comments::Attached;
use crate::syntax::diagnostic::Code;
use crate::syntax::draft::{Comments, Draft};
use crate::syntax::keyword::{Form, KeywordInfo, Language, Support, Yaml};
use crate::syntax::source::Span;
use crate::syntax::tree::{Node, Word};
use crate::syntax::value;
use crate::syntax::write::Document;

use super::leftovers::Leftovers;
use super::{Codes, Kind, Left, Rows, codes, texts, tidy, time_text};

/// Old words that YAML does not have, and those that say the same.
const RENAMED: &[(&str, &str, &str)] = &[
    ("global_defs", "lvs_id", "router_id"),
    ("global_defs", "vrrp_vmac_garp_intvl", "vrrp_garp_extra_if"),
    ("global_defs", "vrrp_rlimit_rtime", "vrrp_rlimit_rttime"),
    ("vrrp_instance", "vrrp_unicast_bind", "mcast_src_ip"),
];

/// Fixed words that keepalived.conf has in capitals.
pub(super) const CAPITALS: &[(&str, &str)] =
    &[("vrrp_instance", "state"), ("virtual_server", "protocol"), ("authentication", "auth_type")];

/// The statements of a configuration in YAML, and what was left out.
pub(super) fn document(
    nodes: &[Node],
    rows: &Rows,
    attached: Attached,
    loaded: &Loaded,
) -> (Document, Vec<Left>) {
    let (leftovers, begin) = Leftovers::new(attached, nodes);
    let mut convert = ToYaml {
        rows,
        leftovers,
        codes: codes(loaded),
        vrrp: Vec::new(),
        ipvs: Vec::new(),
        instance: String::new(),
        sync: None,
    };
    let statements = convert.statements(crate::config::root::TOP_LEVEL, nodes);
    let (end, left) = convert.leftovers.end();
    if let Some((interface, name, span)) = convert.sync.take()
        && !convert.ipvs.iter().any(|draft| draft.keyword == "sync_daemon")
    {
        let options =
            vec![Draft::words("interface", [interface], span), Draft::words("instance", [name], span)];
        convert.ipvs.push(Draft::block("sync_daemon", options, span));
    }
    let (own, mut statements): (Vec<Draft>, Vec<Draft>) =
        statements.into_iter().partition(|draft| draft.keyword == "ipvs");
    convert.ipvs.extend(own.into_iter().flat_map(|draft| draft.block.unwrap_or_default()));
    tidy(&mut convert.ipvs);
    tidy(&mut convert.vrrp);
    tidy(&mut statements);
    let mut all = Vec::new();
    if !statements.iter().any(|draft| draft.keyword == "defaults") {
        all.push(Draft::words("defaults", ["keepalived"], Span::default()));
    }
    let global = statements.iter().position(|draft| draft.keyword == "global");
    all.extend(global.map(|at| statements.remove(at)));
    for (key, block) in [("ipvs", convert.ipvs), ("vrrp", convert.vrrp)] {
        if !block.is_empty() {
            all.push(Draft::block(key, block, Span::default()));
        }
    }
    // What global_defs said has moved.
    all.retain(|draft| {
        draft.keyword != "global" || draft.block.as_ref().is_none_or(|block| !block.is_empty())
    });
    all.extend(statements);
    (Document { statements: all, begin, end }, left)
}

struct ToYaml<'a> {
    rows: &'a Rows,
    leftovers: Leftovers,
    codes: Codes,
    vrrp: Vec<Draft>,
    ipvs: Vec<Draft>,
    /// The instance that is being read.
    instance: String,
    /// `lvs_sync_daemon_interface`.
    sync: Option<(String, String, Span)>,
}

impl ToYaml<'_> {
    fn statements(&mut self, table: &'static str, nodes: &[Node]) -> Vec<Draft> {
        let mut out = Vec::new();
        for node in nodes {
            self.statement(table, node, &mut out);
        }
        out
    }

    /// The statements of a block, and the comments of its own statement, with those that end the block.
    fn inside(&mut self, table: &'static str, node: &Node, comments: &mut Comments) -> Vec<Draft> {
        let outer = self.leftovers.open();
        let mut out = self.statements(table, node.statements());
        tidy(&mut out);
        // One is `check`, several are `checks`.
        let checks = out.iter().filter(|draft| draft.keyword == "check").count();
        for check in out.iter_mut().filter(|draft| draft.keyword == "check") {
            if checks > 1 {
                "checks".clone_into(&mut check.keyword);
            } else {
                check.is_item = false;
            }
        }
        self.leftovers.close(outer, comments);
        out
    }

    /// The number that is taken instead of the one that was written.
    fn taken(&self, node: &Node) -> Option<u64> {
        match self.codes.get(&(node.keyword.span.file, node.keyword.span.start)) {
            Some(Code::Taken(number)) => Some(*number),
            _ => None,
        }
    }

    fn statement(&mut self, table: &'static str, node: &Node, out: &mut Vec<Draft>) {
        let word = &*node.keyword.text;
        let renamed = RENAMED.iter().find(|(block, old, _)| *block == table && *old == word);
        let word = renamed.map_or(word, |(_, _, new)| new);
        let Some(row) = self.rows.find(table, word, Language::Keepalived) else {
            return self.leftovers.leave(node, Kind::Unused, "it is no keyword here, and was ignored");
        };
        let place = (node.keyword.span.file, node.keyword.span.start);
        if let Some(Code::Unheeded(_)) = self.codes.get(&place) {
            return self.leftovers.leave(node, Kind::Unused, "it had no effect, as `lvsd check` says of it");
        }
        if let Support::Ignored(why) | Support::Refused(why) = row.support {
            return self.leftovers.leave(node, Kind::Unused, why);
        }
        if self.special(table, row, node, out) {
            return;
        }
        let key = match row.spelling {
            Yaml::Member(list) => {
                let comments = self.leftovers.comments(node);
                return out.push(
                    Draft::words(list, [row.names.first().copied().unwrap_or(word)], node.span())
                        .commented(comments),
                );
            }
            Yaml::In(_, name) => Some(name),
            _ => row.yaml.first().copied(),
        };
        let Some(key) = key else {
            return self.leftovers.leave(
                node,
                Kind::Unused,
                "YAML has no such word: it says what is so in any case",
            );
        };
        let drafts = self.plain(table, row, key, node);
        match row.spelling {
            Yaml::In("vrrp", _) => self.vrrp.extend(drafts),
            _ => out.extend(drafts),
        }
    }

    /// A statement that YAML says in the same way.
    fn plain(&mut self, table: &'static str, row: &KeywordInfo, key: &str, node: &Node) -> Vec<Draft> {
        let taken = self.taken(node);
        let first = node.values.first();
        let values = match row.form {
            Form::Flag { is_bare } => match first.map(|word| value::boolean(word)) {
                None => Some(vec!["true".to_owned()]),
                Some(Some(is_set)) => Some(vec![is_set.to_string()]),
                Some(None) => is_bare.then(|| vec!["true".to_owned()]),
            },
            Form::Number { min, max, bare } => {
                let number = match first {
                    Some(word) => value::number(word, min, max).ok(),
                    None => bare,
                };
                number.map(|number| vec![taken.unwrap_or(number.into()).to_string()])
            }
            Form::Time { min, max } => first.and_then(|word| value::time(word).ok()).and_then(|time| {
                let time = taken.map_or(time.duration, Duration::from_micros);
                (min..=max).contains(&time).then(|| vec![time_text(time)])
            }),
            Form::Address => first.and_then(|word| ip(word)).map(|ip| vec![ip.to_string()]),
            Form::Text => first.map(|word| vec![word.text.to_string()]),
            Form::Words { max, .. } => {
                let mut values = texts(&node.values);
                values.truncate(max);
                if CAPITALS.contains(&(table, row.names.first().copied().unwrap_or_default())) {
                    values.iter_mut().for_each(|value| value.make_ascii_lowercase());
                }
                // Nothing behind a key is no value.
                if values.is_empty() {
                    values.push("true".to_owned());
                }
                Some(values)
            }
            Form::Block { max } => {
                let Some(inner) = self.rows.inner(row) else {
                    self.leftovers.leave(node, Kind::Lost, "YAML has no such block");
                    return Vec::new();
                };
                let mut comments = self.leftovers.comments(node);
                let mut block = self.inside(inner, node, &mut comments);
                if let (Some(name), Some(key)) = (first, self.rows.key_of(inner)) {
                    block.insert(0, Draft::words(key, [&*name.text], node.span()));
                }
                let draft = Draft::block(key, block, node.span()).commented(comments);
                let is_list = max > 0 || key.ends_with("_groups");
                return vec![if is_list { draft.item() } else { draft }];
            }
            Form::Lines => return self.lines(row, key, node),
            Form::Unread => None,
        };
        let Some(values) = values else {
            self.leftovers.leave(node, Kind::Unused, "its value is out of range, and was ignored");
            return Vec::new();
        };
        let comments = self.leftovers.comments(node);
        vec![Draft::words(key, values, node.span()).commented(comments)]
    }

    /// A block of lines: an item for each.
    fn lines(&mut self, row: &KeywordInfo, key: &str, node: &Node) -> Vec<Draft> {
        let comments = self.leftovers.comments(node);
        let outer = self.leftovers.open();
        self.leftovers.pending = comments.before.into_iter().chain(comments.behind).collect();
        let mut items = Vec::new();
        // Some have one line without braces.
        let alone = node.values.split_first().filter(|_| node.block.is_none());
        let alone =
            alone.map(|(first, rest)| Node { keyword: first.clone(), values: rest.to_vec(), block: None });
        for line in node.statements().iter().chain(&alone) {
            if let Some(Code::Unheeded(_)) =
                self.codes.get(&(line.keyword.span.file, line.keyword.span.start))
            {
                self.leftovers.leave(line, Kind::Unused, "it had no effect, as `lvsd check` says of it");
                continue;
            }
            match row.inner {
                Some(host::DELAYS_TABLE) => {
                    let own = self.leftovers.comments(line);
                    let keys = ["down", "up"].into_iter().zip(&line.values);
                    let times = keys.filter_map(|(key, word)| {
                        let time = value::time(word).ok()?.duration;
                        Some(Draft::words(key, [time_text(time)], line.span()))
                    });
                    let name = Draft::words("name", [&*line.keyword.text], line.span());
                    let block = std::iter::once(name).chain(times).collect();
                    items.push(Draft::block(key, block, line.span()).commented(own).item());
                }
                Some(table) => {
                    let own = self.leftovers.comments(line);
                    items.push(self.line(table, key, line).commented(own).item());
                }
                None => {
                    let mut own = self.leftovers.comments(line);
                    for word in std::iter::once(&line.keyword).chain(&line.values) {
                        let item = Draft::words(key, [&*word.text], word.span).item();
                        items.push(item.commented(std::mem::take(&mut own)));
                    }
                }
            }
        }
        self.leftovers.pending.extend(comments.end);
        if let (Some(last), false) = (items.last_mut(), self.leftovers.pending.is_empty()) {
            // An item has no end of its own: the comment stands before it.
            last.comments.before.append(&mut self.leftovers.pending);
        }
        let rest = std::mem::replace(&mut self.leftovers.pending, outer);
        self.leftovers.pending.extend(rest);
        items
    }

    /// A line: as it stands, where YAML reads the same words of it, else a mapping.
    fn line(&mut self, table: &'static str, key: &str, line: &Node) -> Draft {
        let rows = self.rows;
        let mut words: Vec<Word> = std::iter::once(&line.keyword).chain(&line.values).cloned().collect();
        if let (address::PEER_TABLE, Some(peer)) = (table, words.first_mut())
            && let Some(ip) = ip(peer)
        {
            // A peer has no prefix length.
            peer.text = ip.to_string().as_str().into();
        }
        let first_key = rows.key_of(table);
        let behind = |word: &str| {
            let row = rows.find(table, word, Language::Keepalived)?;
            let (least, mut most) = match row.form {
                Form::Number { bare: None, .. } | Form::Time { .. } | Form::Text | Form::Address => (1, 1),
                Form::Words { min, max } if min > 0 => (min, max),
                _ => (0, 0),
            };
            if matches!(row.names.first(), Some(&("via" | "or"))) {
                most = least;
            }
            let is_refused = matches!(row.support, Support::Refused(_));
            Some(Behind { least, most, is_block: matches!(row.form, Form::Block { .. }), is_refused })
        };
        let Line { first, options, span } =
            split_by(&behind, &words, usize::from(first_key.is_some()), line.span(), false);
        let mut shown = texts(&first);
        let mut is_simple = first.iter().all(is_one_word);
        let mut block = Vec::new();
        match (first_key, first.as_slice()) {
            (Some(key), [name, ..]) => block.push(Draft::words(key, [&*name.text], span)),
            (None, [kind, to]) if table == route::TABLE => {
                block.push(Draft::words("type", [&*kind.text], span));
                block.push(Draft::words("to", [&*to.text], span));
            }
            (None, [to]) if table == route::TABLE => block.push(Draft::words("to", [&*to.text], span)),
            _ => {}
        }
        self.options(table, &options, &mut shown, &mut block, &mut is_simple);
        match is_simple {
            true => Draft::words(key, [shown.join(" ")], span),
            false => {
                tidy(&mut block);
                Draft::block(key, block, span)
            }
        }
    }

    fn options(
        &mut self,
        table: &'static str,
        options: &[Node],
        shown: &mut Vec<String>,
        block: &mut Vec<Draft>,
        is_simple: &mut bool,
    ) {
        for option in options {
            let Some(row) = self.rows.find(table, &option.keyword, Language::Keepalived) else { continue };
            if let Support::Ignored(why) = row.support {
                self.leftovers.leave(option, Kind::Unused, why);
                continue;
            }
            let place = (option.keyword.span.file, option.keyword.span.start);
            if let Some(Code::Unheeded(_)) = self.codes.get(&place) {
                self.leftovers.leave(option, Kind::Unused, "it had no effect, as `lvsd check` says of it");
                continue;
            }
            *is_simple &= row.yaml.contains(&&*option.keyword.text);
            *is_simple &= option.values.iter().all(is_one_word);
            shown.push(option.keyword.text.to_string());
            shown.extend(texts(&option.values));
            let key = row.yaml.first().copied().unwrap_or_default();
            let (Some(hop), Some(inner)) = (&option.block, row.inner) else {
                block.extend(self.plain(table, row, key, option));
                continue;
            };
            let mut of_hop = Vec::new();
            self.options(inner, hop, shown, &mut of_hop, is_simple);
            block.push(Draft::block(key, of_hop, option.span()).item());
        }
    }

    /// What YAML says in another form. False where it does not.
    fn special(&mut self, table: &'static str, row: &KeywordInfo, node: &Node, out: &mut Vec<Draft>) -> bool {
        let name = row.names.first().copied().unwrap_or_default();
        let span = node.span();
        let first = node.values.first();
        match (table, name) {
            _ if row.spelling == Yaml::Instead(FALL) => {
                let Form::Number { min, max, .. } = row.form else { return false };
                match first.and_then(|word| value::number(word, min, max).ok()) {
                    Some(retry) => {
                        let comments = self.leftovers.comments(node);
                        let fall = retry.saturating_add(1).to_string();
                        out.push(Draft::words("fall", [fall], span).commented(comments));
                    }
                    None => {
                        self.leftovers.leave(node, Kind::Unused, "its value is out of range, and was ignored")
                    }
                }
            }
            (_, "virtual_server") => self.virtual_server(node, out),
            ("virtual_server", "real_server") => self.real_server(node, out),
            (_, "virtual_server_group") => self.group(node, out),
            (_, "lb_kind" | "lvs_method") => {
                let comments = self.leftovers.comments(node);
                out.extend(forwarding(node).map(|draft| draft.commented(comments)));
            }
            ("virtual_server", "sorry_server") => {
                let comments = self.leftovers.comments(node);
                let address = endpoint(&node.values, self.taken(node)).unwrap_or_default();
                within(
                    out,
                    "sorry_server",
                    span,
                    [Draft::words("address", [address], span).commented(comments)],
                );
            }
            ("virtual_server", "sorry_server_inhibit") => {
                let drafts = self.plain(table, row, "inhibit", node);
                within(out, "sorry_server", span, drafts);
            }
            ("virtual_server", "sorry_server_lvs_method") => {
                let comments = self.leftovers.comments(node);
                within(out, "sorry_server", span, forwarding(node).map(|draft| draft.commented(comments)));
            }
            ("virtual_server", "persistence_timeout") => {
                let drafts = self.plain(table, row, "timeout", node);
                let seconds = |mut draft: Draft| {
                    draft.values.iter_mut().for_each(|value| value.push('s'));
                    draft
                };
                within(out, "persistence", span, drafts.into_iter().map(seconds));
            }
            ("virtual_server", "persistence_granularity" | "persistence_engine") => {
                let key = if name == "persistence_engine" { "engine" } else { "netmask" };
                let drafts = self.plain(table, row, key, node);
                within(out, "persistence", span, drafts);
            }
            ("real_server" | "vrrp_check", checker) if is_checker(checker) => self.checker(row, node, out),
            ("HTTP_GET" | "SSL_GET", "url") => {
                let mut comments = self.leftovers.comments(node);
                let block = self.inside("url", node, &mut comments);
                let draft = match block.as_slice() {
                    [only] if only.keyword == "path" && only.comments == Comments::default() => {
                        Draft::words("url", only.values.clone(), span)
                    }
                    _ => Draft::block("url", block, span),
                };
                out.push(draft.commented(comments).item());
            }
            ("url", "regex") => match first.and_then(regex::as_yaml) {
                Some(expression) => {
                    let comments = self.leftovers.comments(node);
                    out.push(Draft::words("regex", [expression], span).commented(comments));
                }
                None => self.leftovers.leave(node, Kind::Lost, "the expression has bytes that are no text"),
            },
            ("ipvs", "sysctl") => {
                let mut comments = self.leftovers.comments(node);
                let outer = self.leftovers.open();
                let mut block = Vec::new();
                for setting in node.statements() {
                    let own = self.leftovers.comments(setting);
                    let values = texts(&setting.values);
                    block.push(Draft::words(&setting.keyword.text, values, setting.span()).commented(own));
                }
                self.leftovers.close(outer, &mut comments);
                out.push(Draft::block("sysctl", block, span).commented(comments));
            }
            ("global_defs", "lvs_flush") => {
                let drafts = self.plain(table, row, "flush", node);
                self.ipvs.extend(drafts);
            }
            ("global_defs", "lvs_timeouts") => {
                let comments = self.leftovers.comments(node);
                let pairs = node.values.chunks(2).filter_map(|pair| {
                    let [name, seconds] = pair else { return None };
                    let key = if &*name.text == "tcpfin" { "tcp_fin" } else { &*name.text };
                    Some(Draft::words(key, [format!("{}s", &*seconds.text)], span))
                });
                let draft = Draft::block("timeouts", pairs.collect(), span);
                self.ipvs.push(draft.commented(comments));
            }
            ("global_defs", "lvs_sync_daemon") => {
                let comments = self.leftovers.comments(node);
                self.ipvs.push(sync_daemon(node).commented(comments));
            }
            ("vrrp_instance", "nopreempt") => {
                let comments = self.leftovers.comments(node);
                out.push(Draft::words("preempt", ["false"], span).commented(comments));
            }
            ("vrrp_instance", "lvs_sync_daemon_interface") => {
                if let (Some(interface), None) = (first, &self.sync) {
                    self.sync = Some((interface.text.to_string(), self.instance.clone(), span));
                }
                self.leftovers.keep_comments(node);
            }
            ("vrrp_instance", "vrrp_unicast_peer") => {
                let comments = self.leftovers.comments(node);
                let peer = first.and_then(|word| ip(word)).map(|ip| ip.to_string()).unwrap_or_default();
                out.push(Draft::words("unicast_peers", [peer], span).commented(comments).item());
            }
            (_, "vrrp_instance") => {
                self.instance = first.map(|word| word.text.to_string()).unwrap_or_default();
                return false;
            }
            ("authentication", "auth_pass") => {
                let comments = self.leftovers.comments(node);
                let mut password = first.map(|word| word.text.to_string()).unwrap_or_default();
                // Of a password 8 bytes count.
                let mut length = password.len().min(8);
                while !password.is_char_boundary(length) {
                    length -= 1;
                }
                password.truncate(length);
                out.push(Draft::words("password", [password], span).commented(comments));
            }
            ("auth_hmac", "key") => {
                let comments = self.leftovers.comments(node);
                let keys = ["id", "secret"].into_iter().zip(&node.values);
                let block = keys.map(|(key, word)| Draft::words(key, [&*word.text], word.span)).collect();
                out.push(Draft::block("keys", block, span).commented(comments).item());
            }
            ("bfd_instance", "min_rx" | "min_tx" | "idle_tx") => {
                let comments = self.leftovers.comments(node);
                let time = first.map(|word| {
                    let is_bare = word.bytes().all(|b| b.is_ascii_digit() || b == b'.');
                    if is_bare { format!("{}ms", &*word.text) } else { word.text.to_string() }
                });
                out.push(Draft::words(name, time, span).commented(comments));
            }
            ("garp_group", "interface") => {
                let comments = self.leftovers.comments(node);
                out.push(Draft::words("interfaces", texts(&node.values), span).commented(comments).item());
            }
            _ => return false,
        }
        true
    }

    fn virtual_server(&mut self, node: &Node, out: &mut Vec<Draft>) {
        if !node.statements().iter().any(|inner| &*inner.keyword.text == "real_server") {
            return self.leftovers.leave(node, Kind::Unused, "it has no real server, and was left out");
        }
        let mut comments = self.leftovers.comments(node);
        let mut block = self.inside("virtual_server", node, &mut comments);
        let heading = match node.values.as_slice() {
            [kind, value, ..] if matches!(&*kind.text, "fwmark" | "group") => {
                Draft::words(&kind.text, [&*value.text], node.span())
            }
            words => Draft::words("address", endpoint(words, None), node.span()),
        };
        // What keepalived takes where no time is written.
        let usual = || Draft::words("timeout", [format!("{DEFAULT_PERSISTENCE}s")], node.span());
        let is_address = heading.keyword == "address";
        let port = node.values.get(1).and_then(|word| value::number(word, 1, 65_535).ok());
        let persistence = block.iter_mut().find(|draft| draft.keyword == "persistence");
        match persistence.map(|draft| draft.block.get_or_insert_default()) {
            Some(inner) if inner.iter().any(|draft| draft.keyword == "timeout") => {}
            Some(inner)
                if inner.iter().any(|draft| draft.keyword == "netmask") || (is_address && port.is_none()) =>
            {
                inner.insert(0, usual());
            }
            None if is_address && port.is_none() => {
                block.push(Draft::block("persistence", vec![usual()], node.span()));
            }
            _ => {}
        }
        for key in ["persistence", "sorry_server"] {
            let main = if key == "persistence" { "timeout" } else { "address" };
            let Some(at) = block.iter().position(|draft| draft.keyword == key) else { continue };
            let Some(draft) = block.get_mut(at) else { continue };
            match draft.statements() {
                [only] if only.keyword == main => {
                    let Draft { values, comments, .. } = only.clone();
                    (draft.values, draft.block, draft.comments) = (values, None, comments);
                }
                all if all.iter().any(|inner| inner.keyword == main || inner.keyword == "engine") => {}
                _ => {
                    let lost = block.remove(at);
                    for inner in lost.block.unwrap_or_default() {
                        let why = format!("without `{key}` it has no effect");
                        let what = format!("`{}`", inner.keyword);
                        self.leftovers.left.push(Left {
                            span: Some(inner.span),
                            kind: Kind::Unused,
                            what,
                            why,
                        });
                        comments.end.extend(inner.comments.lines());
                    }
                }
            }
        }
        block.insert(0, heading);
        out.push(Draft::block("virtual_servers", block, node.span()).commented(comments).item());
    }

    fn real_server(&mut self, node: &Node, out: &mut Vec<Draft>) {
        let mut comments = self.leftovers.comments(node);
        let mut block = self.inside("real_server", node, &mut comments);
        let taken = self.taken(node);
        block.insert(0, Draft::words("address", endpoint(&node.values, taken), node.span()));
        out.push(Draft::block("real_servers", block, node.span()).commented(comments).item());
    }

    fn checker(&mut self, row: &KeywordInfo, node: &Node, out: &mut Vec<Draft>) {
        let Some(table) = self.rows.inner(row) else {
            return self.leftovers.leave(node, Kind::Lost, "YAML has no such check");
        };
        let kind = type_of(table).unwrap_or_default();
        let hosts: Vec<&Node> =
            node.statements().iter().filter(|inner| &*inner.keyword.text == "host").collect();
        let is_smtp = table == "SMTP_CHECK" && !hosts.is_empty();
        let connection = |inner: &Node| {
            is_smtp
                && self.rows.find("virtual_server", &inner.keyword, Language::Keepalived).is_none()
                && &*inner.keyword.text != "helo_name"
        };
        let (own, others): (Vec<&Node>, Vec<&Node>) =
            node.statements().iter().partition(|inner| !connection(inner));
        let own: Vec<Node> = own.into_iter().cloned().collect();
        for inner in others.into_iter().filter(|inner| &*inner.keyword.text != "host") {
            self.leftovers.leave(inner, Kind::Unused, "the words of `host` count");
        }
        let comments = self.leftovers.comments(node);
        let whole = Node { block: Some(own), ..node.clone() };
        let mut hosts = hosts.into_iter().map(|host| host.statements().to_vec()).collect::<Vec<_>>();
        if !is_smtp {
            hosts = vec![Vec::new()];
        }
        for (number, host) in hosts.into_iter().enumerate() {
            let mut own = if number == 0 { comments.clone() } else { Comments::default() };
            let mut whole = whole.clone();
            whole.block.get_or_insert_default().extend(host);
            let mut block = self.inside(table, &whole, &mut own);
            let draft = match block.is_empty() && own.end.is_empty() {
                true => Draft::words("check", [kind], node.span()),
                false => {
                    block.insert(0, Draft::words("type", [kind], node.span()));
                    let urls = block.iter().filter(|draft| draft.keyword == "url").count();
                    block
                        .iter_mut()
                        .filter(|d| d.keyword == "url" && urls == 1)
                        .for_each(|d| d.is_item = false);
                    Draft::block("check", block, node.span())
                }
            };
            out.push(draft.commented(own).item());
        }
    }

    fn group(&mut self, node: &Node, out: &mut Vec<Draft>) {
        let mut comments = self.leftovers.comments(node);
        let outer = self.leftovers.open();
        let mut block: Vec<Draft> = node
            .values
            .first()
            .map(|name| Draft::words("name", [&*name.text], node.span()))
            .into_iter()
            .collect();
        for entry in node.statements() {
            let own = self.leftovers.comments(entry);
            let draft = match (&*entry.keyword.text, entry.values.as_slice()) {
                ("fwmark", [mark]) => Draft::words("fwmarks", [&*mark.text], entry.span()),
                ("fwmark", [mark, family, ..]) => {
                    Draft::words("fwmarks", [format!("{} {}", &*mark.text, &*family.text)], entry.span())
                }
                (range, words) => {
                    let port = words.first().map(|port| &*port.text);
                    let is_ipv6 = range.contains(':');
                    let text = match (port, is_ipv6) {
                        (None, false) => range.to_owned(),
                        (None, true) => format!("[{range}]"),
                        (Some(port), false) => format!("{range}:{port}"),
                        (Some(port), true) => format!("[{range}]:{port}"),
                    };
                    Draft::words("addresses", [text], entry.span())
                }
            };
            block.push(draft.commented(own).item());
        }
        self.leftovers.close(outer, &mut comments);
        out.push(Draft::block("virtual_server_groups", block, node.span()).commented(comments).item());
    }
}

/// Whether a word of a line stays one word in YAML, where a line is split at its blanks.
fn is_one_word(word: &Word) -> bool {
    !word.is_empty() && !word.is_quoted && !word.contains(char::is_whitespace)
}

/// Adds statements to a block that is there once; it is made where it is not there yet.
fn within(out: &mut Vec<Draft>, key: &str, span: Span, drafts: impl IntoIterator<Item = Draft>) {
    if let Some(known) = out.iter_mut().find(|draft| draft.keyword == key) {
        known.block.get_or_insert_default().extend(drafts);
    } else {
        out.push(Draft::block(key, drafts.into_iter().collect(), span));
    }
}

/// An address, without a length that it may have.
fn ip(word: &str) -> Option<IpAddr> {
    value::address(word).ok().or_else(|| value::without_prefix(word).map(|(address, _)| address))
}

/// `IP PORT` as YAML writes it.
fn endpoint(words: &[Word], port: Option<u64>) -> Option<String> {
    let ip = ip(words.first()?)?;
    let written = words.get(1).and_then(|word| value::number(word, 0, 65_535).ok()).map(u64::from);
    Some(match (ip, port.or(written).filter(|port| *port > 0)) {
        (IpAddr::V4(ip), Some(port)) => format!("{ip}:{port}"),
        (IpAddr::V6(ip), Some(port)) => format!("[{ip}]:{port}"),
        (ip, None) => ip.to_string(),
    })
}

/// A forwarding method.
fn forwarding(node: &Node) -> Option<Draft> {
    let (method, options) = node.values.split_first()?;
    let method = method.to_ascii_lowercase();
    let span = node.span();
    if method != "tun" || options.is_empty() {
        return Some(Draft::words("forwarding", [method], span));
    }
    let mut block: Vec<Draft> = Vec::new();
    let mut words = options.iter();
    while let Some(word) = words.next() {
        block.push(match &*word.text {
            option @ ("type" | "port") => Draft::words(option, words.next().map(|word| &*word.text), span),
            checksum => Draft::words("checksum", [checksum], span),
        });
    }
    // Of several the last one counts.
    let keys: Vec<String> = block.iter().map(|draft| draft.keyword.clone()).collect();
    let mut at = 0;
    block.retain(|draft| {
        at += 1;
        !keys.iter().skip(at).any(|key| *key == draft.keyword)
    });
    Some(Draft::block("forwarding", vec![Draft::block("tun", block, span)], span))
}

/// `lvs_sync_daemon`.
fn sync_daemon(node: &Node) -> Draft {
    let span = node.span();
    let mut words = node.values.iter();
    let interface = words.next().map(|word| &*word.text);
    let mut block = vec![Draft::words("interface", interface, span)];
    while let Some(word) = words.next() {
        let key = match &*word.text {
            "inst" => "instance",
            "maxlen" => "max_len",
            known @ ("id" | "port" | "ttl" | "group") => known,
            name => {
                block.push(Draft::words("instance", [name], span));
                continue;
            }
        };
        block.push(Draft::words(key, words.next().map(|word| &*word.text), span));
    }
    let keys: Vec<String> = block.iter().map(|draft| draft.keyword.clone()).collect();
    let mut at = 0;
    block.retain(|draft| {
        at += 1;
        !keys.iter().skip(at).any(|key| *key == draft.keyword)
    });
    Draft::block("sync_daemon", block, span)
}
