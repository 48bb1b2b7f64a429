use super::*;

fn at(seconds: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(seconds)
}

fn dated(number: usize) -> DatedContent {
    let content = MailContent { subject: number.to_string(), body: String::new(), cause: String::new() };
    DatedContent { content, date: Duration::ZERO }
}

fn push(outbox: &mut Outbox, numbers: std::ops::Range<usize>) -> usize {
    numbers.filter(|n| outbox.push(dated(*n))).count()
}

fn numbers(dated: &[DatedContent]) -> Vec<usize> {
    dated.iter().map(|p| p.content.subject.parse().unwrap()).collect()
}

fn begin(outbox: &mut Outbox, now: Instant) -> Vec<usize> {
    outbox.begin(now).map(numbers).unwrap_or_default()
}

fn busy(reason: &str) -> Result<Option<String>, DeliveryFailure> {
    Err(DeliveryFailure { is_final: false, reason: reason.to_owned() })
}

fn refused() -> Result<Option<String>, DeliveryFailure> {
    Err(DeliveryFailure { is_final: true, reason: "no such user".to_owned() })
}

#[test]
fn few_changes_have_a_mail_each_in_order_and_one_at_a_time() {
    let mut outbox = Outbox::new(at(0));
    assert_eq!((begin(&mut outbox, at(0)), outbox.deadline()), (vec![], None));
    push(&mut outbox, 0..3);
    for number in 0..3 {
        assert!(!outbox.is_idle() && outbox.deadline() == Some(Instant::ZERO));
        assert_eq!(begin(&mut outbox, at(1)), [number]);
        assert_eq!((begin(&mut outbox, at(1)), outbox.deadline()), (vec![], None), "one at a time");
        assert_eq!(outbox.ended(at(1), Ok(None)), Delivery::Nothing);
    }
    assert!(outbox.is_idle());
    assert_eq!(outbox.counts(), Counts { sent: 3, mails: 3, ..Counts::default() });
}

#[test]
fn a_thousand_changes_at_once_are_one_mail() {
    let mut outbox = Outbox::new(at(0));
    push(&mut outbox, 0..1000);
    assert_eq!(begin(&mut outbox, at(0)), (0..1000).collect::<Vec<_>>());
    outbox.ended(at(0), Ok(None));
    assert_eq!(outbox.counts(), Counts { sent: 1000, mails: 1, ..Counts::default() });
}

#[test]
fn changes_that_trickle_have_a_mail_each_and_then_one_for_all_that_gathered() {
    let mut outbox = Outbox::new(at(0));
    let mut mails = Vec::new();
    let mut now = at(0);
    for number in 0..600 {
        // Ten a second for a minute.
        push(&mut outbox, number..number + 1);
        if let Some(told) = outbox.begin(now) {
            mails.push((now, numbers(told)));
            outbox.ended(now, Ok(None));
        }
        now = now + Duration::from_millis(100);
    }
    let sizes: Vec<usize> = mails.iter().map(|(_, told)| told.len()).collect();
    assert_eq!(sizes, [vec![1; 20], vec![31], vec![50; 10]].concat());
    let told: Vec<usize> = mails.into_iter().flat_map(|(_, told)| told).collect();
    assert_eq!(told, (0..551).collect::<Vec<_>>(), "each once, in order");
    assert_eq!(outbox.deadline(), Some(at(60)));
    assert_eq!(begin(&mut outbox, at(60)).len(), 49);
    outbox.ended(at(60), Ok(None));
    // After a quiet time there are single mails again.
    push(&mut outbox, 600..605);
    assert_eq!(begin(&mut outbox, at(600)), [600]);
}

#[test]
fn a_mail_that_no_server_accepts_is_tried_again_ever_more_rarely_and_said_once() {
    let mut outbox = Outbox::new(at(0));
    push(&mut outbox, 0..2);
    let mut now = at(0);
    let mut pauses = Vec::new();
    for attempt in 0..9 {
        assert_eq!(begin(&mut outbox, now), [0], "the oldest first");
        let delivery = outbox.ended(now, busy("connection refused"));
        let reason = "connection refused".to_owned();
        let first = Delivery::Failing { reason, waiting: 2, pause: FIRST_PAUSE };
        assert_eq!(delivery, if attempt == 0 { first } else { Delivery::Nothing });
        let next = outbox.deadline().unwrap();
        assert_eq!(begin(&mut outbox, Instant::from_nanos(next.as_nanos() - 1)), [0; 0]);
        pauses.push(next.since(now).as_secs());
        now = next;
    }
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
    begin(&mut outbox, now);
    let delivery = outbox.ended(now, busy("no route to host"));
    assert!(matches!(delivery, Delivery::Failing { .. }), "another reason is said: {delivery:?}");
    assert_eq!(outbox.last_error(), Some((now, "no route to host")));
    now = now + LONGEST_PAUSE;
    assert_eq!(begin(&mut outbox, now), [0]);
    assert_eq!(outbox.ended(now, Ok(None)), Delivery::Recovered { dropped: 0 });
    assert_eq!(begin(&mut outbox, now), [1], "what waited has no pause");
    assert_eq!(
        outbox.ended(now, Ok(Some("no such user".to_owned()))),
        Delivery::Partly { reason: "no such user".into() }
    );
    assert_eq!(outbox.counts(), Counts { sent: 2, mails: 2, ..Counts::default() });
}

#[test]
fn a_mail_that_is_refused_for_good_is_counted_and_delays_nothing() {
    let mut outbox = Outbox::new(at(0));
    push(&mut outbox, 0..2);
    begin(&mut outbox, at(0));
    let reason = "no such user".to_owned();
    assert_eq!(outbox.ended(at(0), refused()), Delivery::Refused { reason, changes: 1 });
    assert_eq!(begin(&mut outbox, at(0)), [1]);
    assert_eq!(outbox.counts(), Counts { failed: 1, ..Counts::default() });
}

#[test]
fn of_too_many_that_wait_the_oldest_go_counted_and_said_once() {
    let mut outbox = Outbox::new(at(0));
    push(&mut outbox, 0..1);
    begin(&mut outbox, at(0));
    assert_eq!(push(&mut outbox, 1..MAX_WAITING + 1), 0);
    assert_eq!(push(&mut outbox, MAX_WAITING + 1..MAX_WAITING + 4), 1, "the first loss is said");
    assert_eq!(outbox.waiting(), MAX_WAITING + 1);
    outbox.ended(at(0), busy("no"));
    assert_eq!(outbox.waiting(), MAX_WAITING, "the one under way was the oldest");
    let retry = outbox.deadline().unwrap();
    assert_eq!(begin(&mut outbox, retry), (4..MAX_WAITING + 4).collect::<Vec<_>>());
    assert_eq!(outbox.ended(retry, Ok(None)), Delivery::Recovered { dropped: 4 });
    assert_eq!(outbox.counts(), Counts { sent: MAX_WAITING as u64, dropped: 4, mails: 1, failed: 0 });
}

#[test]
fn at_the_end_all_is_reported_by_one_mail_at_once_and_not_again() {
    let mut outbox = Outbox::new(at(0));
    push(&mut outbox, 0..1);
    begin(&mut outbox, at(0));
    outbox.ended(at(0), busy("no"));
    push(&mut outbox, 1..4);
    outbox.end();
    assert_eq!(begin(&mut outbox, at(1)), [0, 1, 2, 3], "pause and rate do not count");
    let reason = "no".to_owned();
    assert_eq!(outbox.ended(at(1), busy("no")), Delivery::Refused { reason, changes: 4 });
    assert!(outbox.is_idle());
}

#[test]
fn another_server_is_asked_at_once_and_without_any_nothing_waits() {
    let mut outbox = Outbox::new(at(0));
    push(&mut outbox, 0..2);
    begin(&mut outbox, at(0));
    outbox.ended(at(0), busy("no"));
    outbox.retry_now();
    assert_eq!(begin(&mut outbox, at(0)), [0]);
    outbox.ended(at(0), busy("no"));
    outbox.clear();
    assert_eq!((outbox.is_idle(), outbox.deadline(), outbox.counts().dropped), (true, None, 2));
}

#[test]
fn through_any_life_of_a_server_each_change_is_reported_once_in_order_or_counted() {
    for seed in 0..256 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut outbox = Outbox::new(at(0));
        let (mut now, mut pushed, mut told, mut mails) = (at(0), 0, Vec::new(), Vec::new());
        for _ in 0..400 {
            let many = if rng.u8(0..20) == 0 { rng.usize(0..2000) } else { rng.usize(0..3) };
            push(&mut outbox, pushed..pushed + many);
            pushed += many;
            if let Some(sending) = outbox.begin(now) {
                let sending = numbers(sending);
                mails.push(now);
                now = now + Duration::from_millis(rng.u64(0..70_000));
                match rng.u8(0..3) {
                    0 => drop(outbox.ended(now, busy("no"))),
                    1 if rng.u8(0..4) == 0 => drop(outbox.ended(now, refused())),
                    _ => {
                        told.extend(sending);
                        outbox.ended(now, Ok(None));
                    }
                }
            }
            let pause = Duration::from_millis(rng.u64(0..8000));
            now = outbox.deadline().filter(|_| rng.bool()).map_or(now + pause, |at| at.max(now));
            assert!(outbox.waiting() <= MAX_WAITING + 1, "seed {seed}");
        }
        assert!(told.is_sorted_by(|a, b| a < b), "seed {seed}: in order, none twice");
        let counts = outbox.counts();
        assert_eq!(counts.sent, told.len() as u64, "seed {seed}");
        let all = counts.sent + counts.failed + counts.dropped + outbox.waiting() as u64;
        assert_eq!(all, pushed as u64, "seed {seed}: nothing is lost without a count");
        for (first, last) in mails.iter().zip(mails.iter().skip(BURST as usize + 6)) {
            assert!(last.since(*first) >= 5 * REFILL, "seed {seed}: too many mails");
        }
    }
}
