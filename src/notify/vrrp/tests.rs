use super::*;
use std::sync::Arc;
use std::time::Duration;

use crate::vrrp::settings::{
    Announcing, Authentication, Beginning, Checksum, Family, GroupSettings, InstanceSettings, Transport,
    Version,
};

fn command(text: &str) -> Option<Command> {
    let words = text.split(' ').map(str::to_owned).collect();
    Some(Command { words, user: None, group: None })
}

fn all_commands() -> NotifyCommands {
    NotifyCommands {
        master: command("/m master"),
        backup: command("/b"),
        fault: command("/f"),
        stop: command("/s"),
        deleted: None,
        notifies_deleted: false,
        any: command("/any own"),
        master_heard_lower_priority: command("/low"),
        notifies_priority: true,
        mail: false,
    }
}

fn settings(notify: NotifyCommands) -> Settings {
    let announcing = Announcing {
        delay: Duration::ZERO,
        repeat: 1,
        refresh: Duration::ZERO,
        refresh_repeat: 1,
        lower_priority_delay: Duration::ZERO,
        lower_priority_repeat: 1,
        extra: Duration::ZERO,
        extra_on_all: false,
    };
    let instance = InstanceSettings {
        assert: None,
        pair: None,
        name: "VI 1".to_owned(),
        family: Family::Ipv4,
        interface: Some("eth0".to_owned()),
        vrid: 51,
        priority: 100,
        version: Version::V2,
        advert_interval: Duration::from_secs(1),
        beginning: Beginning::Backup,
        preempts: true,
        preempts_ill: false,
        preempt_delay: Duration::ZERO,
        is_strict: false,
        transport: Transport::Multicast([224, 0, 0, 18].into()),
        source: None,
        checksum: Checksum::PseudoHeader,
        authentication: Authentication::None,
        vmac: None,
        advertises_from_base: false,
        addresses: Vec::new(),
        excluded: Vec::new(),
        routes: Vec::new(),
        rules: Vec::new(),
        announcing,
        missed_adverts: 3,
        ignores_lower_priority: false,
        answers_higher_priority: false,
        owner_ignores_adverts: false,
        ignores_own_link: false,
        promotes_secondaries: false,
        tracks: Vec::new(),
        receive_buffer: None,
        notify: notify.clone(),
    };
    let group = GroupSettings {
        name: "G1".to_owned(),
        is_pair: false,
        members: Vec::new(),
        tracks: Vec::new(),
        counts_weights: false,
        notify,
    };
    Settings { instances: vec![Arc::new(instance)], groups: vec![Arc::new(group)], ..Settings::default() }
}

fn transition(from: State, to: State, priority: u8) -> Event {
    Event::Transition {
        instance: "VI 1".to_owned(),
        vrid: 51,
        from,
        to,
        priority,
        reason: "no advertisement of a Master received".to_owned(),
        master: Some([10, 0, 0, 2].into()),
    }
}

/// The commands that are run, and the line.
fn notified(notification: Option<Notification>) -> String {
    let Some(notification) = notification else { return "nothing".to_owned() };
    let commands = notification.scripts.iter().map(|c| c.words.join(" "));
    let line = notification.line.map(|l| String::from_utf8(l.bytes).unwrap());
    commands.chain(line).collect::<Vec<_>>().join(" | ")
}

#[test]
fn each_state_has_its_command_with_its_own_arguments_and_notify_has_four_more() {
    let settings = settings(all_commands());
    let context = Context { settings: &settings, previous: None, is_stopping: false };
    let stopping = Context { is_stopping: true, ..context };
    let table = [
        (State::Backup, context, "/b | /any own INSTANCE VI 1 BACKUP 100 | INSTANCE \"VI 1\" BACKUP 100\n"),
        (
            State::Master,
            context,
            "/m master | /any own INSTANCE VI 1 MASTER 100 | INSTANCE \"VI 1\" MASTER 100\n",
        ),
        (State::Fault, context, "/f | /any own INSTANCE VI 1 FAULT 100 | INSTANCE \"VI 1\" FAULT 100\n"),
        (State::Init, stopping, "/s | /any own INSTANCE VI 1 STOP 100 | INSTANCE \"VI 1\" STOP 100\n"),
        // It is another node's now: to those who are notified it was removed.
        (State::Init, context, "/f | /any own INSTANCE VI 1 FAULT 100 | INSTANCE \"VI 1\" FAULT 100\n"),
    ];
    for (to, context, expected) in table {
        let notification = VrrpNotifier::default().notify(&transition(State::Init, to, 100), context);
        assert_eq!(notified(notification), expected, "{to} {}", context.is_stopping);
    }
    let name = VrrpNotifier::default().notify(&transition(State::Init, State::Master, 100), context).unwrap();
    assert_eq!(name.scripts.last().unwrap().words, ["/any", "own", "INSTANCE", "VI 1", "MASTER", "100"]);
}

#[test]
fn mails_report_the_instances_that_ask_for_them_and_faults_unless_excluded() {
    let gone = Settings::default();
    let subject = |mail: bool, mails_no_faults: bool, to: State, is_deleted: bool| {
        let mut settings =
            settings(NotifyCommands { mail, notifies_deleted: true, ..NotifyCommands::default() });
        settings.notify.mails_no_faults = mails_no_faults;
        let context = match is_deleted {
            true => Context { settings: &gone, previous: Some(&settings), is_stopping: false },
            false => Context { settings: &settings, previous: None, is_stopping: true },
        };
        let notification = VrrpNotifier::default().notify(&transition(State::Init, to, 100), context);
        notification.and_then(|t| t.mail).map(|content| content.subject).unwrap_or_default()
    };
    assert_eq!(subject(true, false, State::Master, false), "VRRP Instance VI 1 - Entering MASTER state");
    assert_eq!(subject(false, false, State::Master, false), "");
    assert_eq!(subject(true, false, State::Fault, false), "VRRP Instance VI 1 - Entering FAULT state");
    assert_eq!(subject(true, true, State::Fault, false), "");
    assert_eq!(subject(true, true, State::Init, false), "VRRP Instance VI 1 - Entering STOP state");
    assert_eq!(subject(true, false, State::Init, true), "VRRP Instance VI 1 - Entering FAULT state");
}

#[test]
fn a_group_has_priority_zero() {
    let settings = settings(all_commands());
    let context = Context { settings: &settings, previous: None, is_stopping: false };
    let event = Event::Group { group: "G1".to_owned(), to: State::Master, reason: "all agree".to_owned() };
    let expected = "/m master | /any own GROUP G1 MASTER 0 | GROUP \"G1\" MASTER 0\n";
    assert_eq!(notified(VrrpNotifier::default().notify(&event, context)), expected);
}

#[test]
fn what_a_reload_removed_is_reported_as_fault_unless_notify_deleted_is_written() {
    let none = Settings::default();
    let gone = transition(State::Master, State::Init, 100);
    let with = |commands: NotifyCommands| {
        let before = settings(commands);
        let context = Context { settings: &none, previous: Some(&before), is_stopping: false };
        notified(VrrpNotifier::default().notify(&gone, context))
    };
    let fault = "/f | /any own INSTANCE VI 1 FAULT 100 | INSTANCE \"VI 1\" FAULT 100\n";
    assert_eq!(with(all_commands()), fault);
    let any = "/any own INSTANCE VI 1 DELETED 100 | INSTANCE \"VI 1\" DELETED 100\n";
    assert_eq!(with(NotifyCommands { notifies_deleted: true, ..all_commands() }), any);
    let deleted = NotifyCommands { deleted: command("/d"), ..all_commands() };
    assert_eq!(with(deleted), format!("/d | {any}"));
    let context = Context { settings: &none, previous: None, is_stopping: false };
    assert_eq!(notified(VrrpNotifier::default().notify(&gone, context)), "nothing", "it was never notified");
}

#[test]
fn priorities_and_lower_ones_heard_are_reported_as_configured() {
    let silent = settings(NotifyCommands::default());
    let loud = settings(all_commands());
    let priority = |state| Event::Priority {
        instance: "VI 1".to_owned(),
        state,
        from: 100,
        to: 80,
        reason: "script chk is down".to_owned(),
    };
    let notify = |event: &Event, settings: &Settings| {
        notified(
            VrrpNotifier::default().notify(event, Context { settings, previous: None, is_stopping: false }),
        )
    };
    assert_eq!(notify(&priority(State::Master), &loud), "INSTANCE \"VI 1\" MASTER_PRIORITY 80\n");
    assert_eq!(notify(&priority(State::Backup), &loud), "INSTANCE \"VI 1\" BACKUP_PRIORITY 80\n");
    assert_eq!(notify(&priority(State::Fault), &loud), "nothing");
    assert_eq!(notify(&priority(State::Master), &silent), "nothing");
    let lower = Event::LowerPriority {
        instance: "VI 1".to_owned(),
        source: [10, 0, 0, 2].into(),
        theirs: 50,
        ours: 100,
        is_over: false,
    };
    assert_eq!(notify(&lower, &loud), "/low | INSTANCE \"VI 1\" MASTER_RX_LOWER_PRI 100\n");
    assert_eq!(notify(&lower, &silent), "INSTANCE \"VI 1\" MASTER_RX_LOWER_PRI 100\n");
}

#[test]
fn a_change_knows_the_state_before_it_and_a_script_finds_all_of_it() {
    let settings = settings(all_commands());
    let context = Context { settings: &settings, previous: None, is_stopping: false };
    let mut notifier = VrrpNotifier::default();
    let first = notifier.notify(&transition(State::Init, State::Backup, 100), context).unwrap().change;
    let second = notifier.notify(&transition(State::Backup, State::Master, 100), context).unwrap().change;
    assert_eq!(first.previous, None);
    assert_eq!(second.previous, Some("BACKUP"));
    let environment = second.environment(2);
    let value = |name: &str| environment.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    assert_eq!(value("LVSD_SEQUENCE"), Some("2"));
    assert_eq!(value("LVSD_CAUSE"), Some("no advertisement of a Master received"));
    assert_eq!((value("LVSD_MASTER"), value("LVSD_PRIORITY")), (Some("10.0.0.2"), Some("100")));
    let lines: Vec<_> = notifier.lines().into_iter().map(|l| String::from_utf8(l.bytes).unwrap()).collect();
    assert_eq!(lines, ["INSTANCE \"VI 1\" MASTER 100\n"], "what is said again after a reload");
}

#[test]
fn a_new_instance_with_the_old_name_of_a_renamed_one_has_no_last_state() {
    let renamed = |before: &str, name: &str, is_taken, state| Event::Renamed {
        is_group: false,
        before: before.to_owned(),
        is_taken,
        name: name.to_owned(),
        state,
        priority: 100,
    };
    let settings = settings(all_commands());
    let context = Context { settings: &settings, previous: None, is_stopping: false };
    let mut notifier = VrrpNotifier::default();
    notifier.notify(&transition(State::Backup, State::Master, 100), context);
    notifier.notify(&renamed("VI 1", "VI 2", false, State::Master), context);
    let lines = |notifier: &VrrpNotifier| -> Vec<String> {
        notifier.lines().into_iter().map(|line| String::from_utf8(line.bytes).unwrap()).collect()
    };
    assert_eq!(lines(&notifier), ["INSTANCE \"VI 2\" MASTER 100\n"]);
    // Another one is VI 1 from now on.
    let begun = notifier.notify(&transition(State::Init, State::Backup, 100), context).unwrap();
    assert_eq!(begun.change.previous, None);
    // Both swap their names, in whichever order that is told.
    notifier.notify(&renamed("VI 1", "VI 2", true, State::Backup), context);
    notifier.notify(&renamed("VI 2", "VI 1", true, State::Master), context);
    assert_eq!(lines(&notifier), ["INSTANCE \"VI 1\" MASTER 100\n", "INSTANCE \"VI 2\" BACKUP 100\n"]);
}

#[test]
fn both_families_of_an_instance_are_notified_once() {
    let mut settings = settings(all_commands());
    let four =
        InstanceSettings { pair: Some("VI 1".to_owned()), ..InstanceSettings::clone(&settings.instances[0]) };
    let six = InstanceSettings {
        name: "VI 1/6".to_owned(),
        family: Family::Ipv6,
        notify: NotifyCommands::default(),
        ..four.clone()
    };
    let pair = GroupSettings {
        name: "VI 1".to_owned(),
        is_pair: true,
        notify: NotifyCommands::default(),
        ..GroupSettings::clone(&settings.groups[0])
    };
    settings.instances = vec![Arc::new(four), Arc::new(six)];
    settings.groups = vec![Arc::new(pair)];
    let context = Context { settings: &settings, previous: None, is_stopping: false };
    let of_six = |from, to, priority| match transition(from, to, priority) {
        Event::Transition { vrid, reason, master, .. } => {
            Event::Transition { instance: "VI 1/6".to_owned(), vrid, from, to, priority, reason, master }
        }
        other => other,
    };
    let group = |to| Event::Group { group: "VI 1".to_owned(), to, reason: "both".to_owned() };
    let mut notifier = VrrpNotifier::default();
    assert_eq!(notified(notifier.notify(&transition(State::Backup, State::Master, 150), context)), "nothing");
    assert_eq!(notified(notifier.notify(&of_six(State::Backup, State::Master, 150), context)), "nothing");
    assert_eq!(
        notified(notifier.notify(&group(State::Master), context)),
        "/m master | /any own INSTANCE VI 1 MASTER 150 | INSTANCE \"VI 1\" MASTER 150\n"
    );
    assert_eq!(notified(notifier.notify(&group(State::Master), context)), "nothing", "it is so already");
    // A reload removes it: of the group nothing is told.
    let none = Settings::default();
    let gone = Context { settings: &none, previous: Some(&settings), is_stopping: false };
    assert_eq!(
        notified(notifier.notify(&transition(State::Master, State::Init, 150), gone)),
        "/f | /any own INSTANCE VI 1 FAULT 150 | INSTANCE \"VI 1\" FAULT 150\n"
    );
    assert_eq!(notified(notifier.notify(&of_six(State::Master, State::Init, 150), gone)), "nothing");
    assert!(notifier.lines().is_empty());
}
