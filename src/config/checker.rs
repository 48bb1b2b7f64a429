//! The checkers of a real server: what all of them say, and the specification that follows.
//!
//! Each has a file that implements [`CheckerForm`], and a row below in [`checkers!`].

use std::fmt::Debug;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::check::spec::{CheckerSpec, Question, Source, Target};
use crate::syntax::diagnostic::Diagnostic;
use crate::syntax::keyword::{
    Includes, Keyword, KeywordInfo, Reader, Slot, Support, Table, block, get, no_op, number,
};
use crate::syntax::source::Span;
use crate::syntax::tree::Node;

use super::defaults::Dialect;
use super::options::options;
use super::real_server::RealServerOptions;
use super::timing::{FALL, HasTiming, TimingOptions, Timings};
use super::tls::TlsReader;
use super::types::Checker;
use super::vrrp::command::{CommandOptions, UserOptions};
use super::vrrp::script::FileOptions;
use super::vrrp::session::SessionOptions;

mod bfd;
mod dns;
mod file;
mod http;
mod misc;
mod ping;
mod smtp;
mod tcp;
mod udp;
pub(super) mod yaml;

/// The keywords, YAML's types and the listing of the checkers named.
macro_rules! checkers {
    ($($checker:path),+ $(,)?) => {
        /// The keywords of a block that has checkers.
        pub(super) const fn keywords<T: HasCheckers>() -> &'static [Keyword<T>] {
            const { &[$(keyword::<$checker, T>()),+] }
        }

        /// The types of YAML's checks.
        const TYPES: &[Type] = &[$(Type::of::<$checker>()),+];

        /// The lines of the listing, block by block.
        pub(super) fn listing() -> Vec<KeywordInfo> {
            [$(<$checker as CheckerForm>::TABLE.listing()),+].concat()
        }
    };
}

checkers![
    tcp::TcpCheck,
    http::HttpGet,
    http::SslGet,
    smtp::SmtpCheck,
    dns::DnsCheck,
    udp::UdpCheck,
    ping::PingCheck,
    misc::MiscCheck,
    bfd::BfdCheck,
    file::FileCheck,
];

/// A block that has checkers: a real server, or a check that virtual routers track.
pub(super) trait HasCheckers: 'static {
    /// Those that were written in it.
    fn checkers(&mut self) -> &mut Vec<CheckerOptions>;
}

impl HasCheckers for RealServerOptions {
    fn checkers(&mut self) -> &mut Vec<CheckerOptions> {
        &mut self.checkers
    }
}

/// How a checker is written.
pub(super) trait CheckerForm: Ask + Default + 'static {
    /// Its keyword in a real server.
    const KEYWORD: &'static str;
    /// Its type in YAML.
    const TYPE: &'static str;
    /// How YAML writes it, shown for the keyword.
    const EXAMPLE: &'static str;
    /// What it means.
    const DOC: &'static str;
    /// Its keywords.
    const TABLE: Table<CheckerBlock<Self>>;

    /// Reports what its block lacks.
    fn verify(_: &Node, _: &mut Reader<'_>) {}

    /// Adds the checkers that the block stands for: one, unless it names several hosts.
    fn each(self, connection: ConnectionOptions, add: &mut dyn FnMut(ConnectionOptions, Self)) {
        add(connection, self);
    }
}

/// What is asked of the real server by the options of a checker.
pub(super) trait Ask: Debug {
    /// All options and defaults applied. None after reporting what is wrong.
    fn question(&self, address: IpAddr, from: &Inherited<'_>, reader: &mut Reader<'_>) -> Option<Question>;

    /// The command that it runs.
    fn command(&self) -> Option<&CommandOptions> {
        None
    }

    /// Why no virtual router tracks it as a check: what to write instead.
    fn no_track(&self) -> Option<&'static str> {
        None
    }

    /// `log_all_failures`, of one that has no connection.
    fn log_all_failures(&self) -> Option<bool> {
        None
    }

    /// Whether what it says holds at once: it is a verdict already, which nothing has to confirm.
    fn is_verdict(&self) -> bool {
        false
    }

    /// Whether it asks a port.
    fn needs_port(&self) -> bool {
        true
    }

    /// `retry` where none is written, if it differs from that of other checkers.
    fn retry(&self, _: Dialect) -> Option<u32> {
        None
    }

    /// `delay_before_retry` where none is written.
    fn delay_before_retry(&self, dialect: Dialect, _interval: Duration) -> Duration {
        dialect.delay_before_retry()
    }
}

/// The block of a checker with options `O` of its own.
#[derive(Debug, Default)]
pub(super) struct CheckerBlock<O> {
    connection: ConnectionOptions,
    timing: TimingOptions,
    own: O,
}

impl<O: Ask + 'static> Includes<O> for CheckerBlock<O> {
    fn part(&mut self) -> &mut O {
        &mut self.own
    }
}

impl<O: 'static> Includes<ConnectionOptions> for CheckerBlock<O> {
    fn part(&mut self) -> &mut ConnectionOptions {
        &mut self.connection
    }
}

impl<O: 'static> Includes<TimingOptions> for CheckerBlock<O> {
    fn part(&mut self) -> &mut TimingOptions {
        &mut self.timing
    }
}

impl<O: 'static> HasTiming for CheckerBlock<O> {
    const MIN_RETRY: u32 = 0;
}

/// A checker as it was written.
#[derive(Debug)]
pub(crate) struct CheckerOptions {
    span: Span,
    connection: ConnectionOptions,
    timing: TimingOptions,
    own: Box<dyn Ask>,
}

impl CheckerOptions {
    /// The command that it runs.
    pub(super) fn command(&self) -> Option<&CommandOptions> {
        self.own.command()
    }

    /// Where it is, and what to write instead, if virtual routers track it in another way.
    pub(super) fn no_track(&self) -> Option<(Span, &'static str)> {
        Some((self.span, self.own.no_track()?))
    }
}

options! {
    /// What all checkers with a connection take.
    pub(super) struct ConnectionOptions {
        /// Address to check instead of the real server's.
        connect_ip: Slot<IpAddr> = address("connect_ip").yaml(&["connect_address"]);
        /// Port to check instead of the real server's.
        connect_port: Slot<u32> = number("connect_port", 1, u16::MAX as u32);
        /// Source address of the check.
        bind_address: Slot<IpAddr> = address("bindto").yaml(&["bind_address"]);
        /// Source port of the check.
        bind_port: Slot<u32> = number("bind_port", 1, u16::MAX as u32);
        /// Interface the check goes out of.
        bind_interface: Slot<String> = text("bind_if", "INTERFACE", MAX_INTERFACE).yaml(&["bind_interface"]);
        /// Firewall mark of the check's packets.
        fwmark: Slot<u32> = number("fwmark", 0, u32::MAX);
        /// Log every failing check, not only the one that decides.
        log_all_failures: Slot<bool> = flag("log_all_failures");
    }
}

/// The longest name of a host.
pub(super) const MAX_HOST: usize = 255;
/// PATH_MAX less the terminator.
pub(super) const MAX_PATH: usize = 4095;
/// IFNAMSIZ less the terminator.
pub(super) const MAX_INTERFACE: usize = 15;

/// The old name of `retry`.
const fn old_retry<O>(instead: &'static str) -> Keyword<CheckerBlock<O>> {
    number(|o: &mut CheckerBlock<O>| &mut o.timing.retry, "nb_get_retry", 0, u32::MAX)
        .but(Support::Deprecated(instead))
        .yaml_instead(FALL)
        .doc("Old name of `retry`.")
}

/// YAML's `type`, which is read before the table can be chosen.
const fn yaml_type<O>() -> Keyword<CheckerBlock<O>> {
    no_op("type", yaml::TYPE, 1, 1).only_yaml().doc("What is asked: the type of check.")
}

const fn keyword<C: CheckerForm, T: HasCheckers>() -> Keyword<T> {
    let keyword = block(|o: &mut T, n, r| read::<C>(o.checkers(), n, r), C::KEYWORD, "");
    keyword.doc(C::DOC).yaml_instead(C::EXAMPLE)
}

/// Whether a block is a checker's.
pub(crate) fn is_checker(block: &str) -> bool {
    keywords::<RealServerOptions>().iter().any(|keyword| keyword.name == block)
}

/// The type of YAML's checks that a keyword is.
pub(super) fn type_of(keyword: &str) -> Option<&'static str> {
    let at = keywords::<RealServerOptions>().iter().position(|known| known.name == keyword)?;
    TYPES.get(at).map(|found| found.name)
}

/// The keyword that a type of YAML's checks is.
pub(super) fn keyword_of(kind: &str) -> Option<&'static str> {
    let at = TYPES.iter().position(|found| found.name == kind)?;
    keywords::<RealServerOptions>().get(at).map(|known| known.name)
}

/// A type of YAML's checks.
struct Type {
    name: &'static str,
    read: fn(&mut Vec<CheckerOptions>, &Node, &mut Reader<'_>),
}

impl Type {
    const fn of<C: CheckerForm>() -> Type {
        Type { name: C::TYPE, read: read::<C> }
    }
}

/// Reads a checker's block.
fn read<C: CheckerForm>(checkers: &mut Vec<CheckerOptions>, node: &Node, reader: &mut Reader<'_>) {
    let mut written = CheckerBlock::<C>::default();
    let unknown = reader.unknown;
    reader.block(&C::TABLE, node.statements(), &mut written);
    // What seems to lack may be what an unknown word was meant to be.
    if reader.unknown == unknown {
        C::verify(node, reader);
    }
    let CheckerBlock { connection, timing, own } = written;
    own.each(connection, &mut |connection, own| {
        let (span, timing) = (node.keyword.span, timing.clone());
        checkers.push(CheckerOptions { span, connection, timing, own: Box::new(own) });
    });
}

/// What a checker inherits.
pub(super) struct Inherited<'a> {
    /// The real server's address; its port is where traffic arrives when connect_port says nothing.
    pub(super) address: SocketAddr,
    /// Options of the real server over those of the virtual server.
    pub(super) timing: &'a TimingOptions,
    /// `virtualhost` of the real server, else of the virtual server.
    pub(super) virtualhost: Slot<String>,
    /// Makes TLS clients.
    pub(super) tls: &'a TlsReader<'a>,
    /// `checker_log_all_failures`.
    pub(super) log_all_failures: bool,
    /// How commands run.
    pub(super) scripts: Scripts<'a>,
    /// BFD sessions.
    pub(super) sessions: &'a [SessionOptions],
    /// Files whose numbers count.
    pub(super) files: &'a [FileOptions],
    /// Whose defaults apply.
    pub(super) dialect: Dialect,
    /// A virtual router tracks it: its failures are repeated at the interval.
    pub(super) is_track: bool,
}

/// How commands run.
#[derive(Clone, Copy)]
pub(super) struct Scripts<'a> {
    /// User and group, where none is written (`script_user`).
    pub(super) usual: &'a UserOptions,
    /// `enable_script_security`.
    pub(super) is_secure: bool,
}

/// The specification of a checker, all options and defaults applied. None after reporting what is wrong.
pub(super) fn resolve(
    options: &CheckerOptions,
    from: &Inherited<'_>,
    timings: &mut Timings,
    reader: &mut Reader<'_>,
) -> Option<Checker> {
    let CheckerOptions { connection, .. } = options;
    let timing = options.timing.clone().or(from.timing);
    let timing = if from.is_track { timing.with_track_defaults() } else { timing };
    let small = |slot: &Slot<u32>| get(slot).and_then(|n| u16::try_from(n).ok());
    let address = SocketAddr::new(
        get(&connection.connect_ip).unwrap_or(from.address.ip()),
        small(&connection.connect_port).unwrap_or(from.address.port()),
    );
    let words = ConnectionOptions::keywords::<ConnectionOptions>();
    if address.port() == 0 && options.own.needs_port() {
        let problem = Diagnostic::error(options.span, "this checker has no port to connect to")
            .help(format!("write `{}`", reader.example(words, "connect_port", "N")));
        reader.diagnostics.push(problem);
        return None;
    }
    if let Some(bind) = connection.bind_address.as_ref().filter(|b| b.value.is_ipv4() != address.is_ipv4()) {
        let problem = format!(
            "`{}` {} and the address to check, {}, are of different families",
            reader.spelling(words, "bindto"),
            bind.value,
            address.ip()
        );
        reader.error(bind.span, problem);
        return None;
    }
    let is_link_local = matches!(address.ip(), IpAddr::V6(ip) if ip.is_unicast_link_local());
    if is_link_local && connection.bind_interface.is_none() {
        let problem = Diagnostic::error(options.span, format!("{} is a link-local address", address.ip()))
            .help(format!("write `{}`", reader.example(words, "bind_if", "INTERFACE")));
        reader.diagnostics.push(problem);
        return None;
    }
    let question = options.own.question(address.ip(), from, reader)?;
    let source = Source {
        address: get(&connection.bind_address),
        port: small(&connection.bind_port),
        interface: get(&connection.bind_interface),
        fwmark: get(&connection.fwmark).filter(|mark| *mark != 0),
    };
    let delay_before_retry = options.own.delay_before_retry(from.dialect, timing.interval(from.dialect));
    let retry = options.own.retry(from.dialect);
    let mut timing_of_runs = timing.resolve(from.dialect, retry, delay_before_retry);
    if options.own.is_verdict() {
        (timing_of_runs.retry, timing_of_runs.rise) = (0, 1);
    }
    let spec = CheckerSpec {
        target: Target {
            address,
            source: (source != Source::default()).then(|| Box::new(source)),
            connect_timeout: timing.connect_timeout(from.dialect),
        },
        question,
        timing: timings.shared(timing_of_runs),
        log_all_failures: get(&connection.log_all_failures)
            .or_else(|| options.own.log_all_failures())
            .unwrap_or(from.log_all_failures),
    };
    Some(Checker { spec: Arc::new(spec), alpha: timing.alpha(from.dialect) })
}
