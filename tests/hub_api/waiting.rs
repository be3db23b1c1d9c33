//! Runtimes that wait for a process, hang up, or are there when the hub stops.

use super::*;

#[test]
fn a_waiting_runtime_is_woken_by_a_submit_and_one_alone() {
    let (_dir, hub) = with_runtimes();
    let mut polls: Vec<_> = [RT1, RT2]
        .map(|runtime| {
            let mut stream = connect(hub.addr);
            let body = sealed(&key(runtime), &hub.assign_request(20));
            send(&mut stream, "POST", "/api", &[], &body);
            stream
        })
        .into();
    wait_until_waiting(&hub, &[RT1, RT2]);
    let first = hub.submit(&key(RT1), hub.spec("cli"));
    let (sender, receiver) = mpsc::channel();
    for mut stream in polls.drain(..) {
        let sender = sender.clone();
        thread::spawn(move || sender.send(receive(&mut stream)).unwrap());
    }
    let request = hub.assign_request(20);
    let woken = receiver.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(process(answer(&request, &woken)).id, first.id);
    // The other one was left waiting: it is there for the next process.
    let second = hub.submit(&key(RT1), hub.spec("cli"));
    let woken = receiver.recv_timeout(Duration::from_secs(10)).unwrap();
    assert_eq!(process(answer(&request, &woken)).id, second.id);
}

/// Polls come in over connections of their own; that they wait shows in the time the hub last heard of them.
fn wait_until_waiting(hub: &Hub, runtimes: &[u8]) {
    let start = Instant::now();
    for runtime in runtimes {
        let runtime_id = key(*runtime).id();
        let request = Request::GetRuntime { runtime_id };
        loop {
            match hub.ask(&key(*runtime), &request) {
                Ok(Answer::Runtime(runtime)) if !runtime.last_heard_from.is_never() => break,
                Ok(Answer::Runtime(_)) => assert!(start.elapsed() < common::PATIENCE),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn who_hung_up_gets_nothing() {
    let (_dir, hub) = with_runtimes();
    for round in 0..20 {
        let runtime = key(0x40 + round);
        hub.runtime(&runtime, "cli");
        let mut stream = connect(hub.addr);
        if round % 2 == 0 {
            // An answer that is never read makes the hang-up a reset.
            send(&mut stream, "GET", "/health", &[], b"");
        }
        let body = sealed(&runtime, &hub.assign_request(60));
        send(&mut stream, "POST", "/api", &[], &body);
        wait_until_waiting(&hub, &[0x40 + round]);
        // Gone without a word.
        drop(stream);
        let submitted = hub.submit(&key(RT1), hub.spec("cli"));
        // Whether the hub noticed before or after the submit: the process ends up with the one who is there.
        let assigned = process(hub.assign(&key(RT2), 10));
        assert_eq!(assigned.id, submitted.id, "round {round}");
        assert_eq!(assigned.retries, 0);
        let process_id = assigned.id;
        hub.ask(&key(RT2), &Request::CloseSuccessful { process_id })
            .unwrap();
    }
}

#[test]
fn stopping_answers_those_who_wait() {
    let (_dir, hub) = with_runtimes();
    let mut stream = connect(hub.addr);
    let request = hub.assign_request(1000);
    send(&mut stream, "POST", "/api", &[], &sealed(&key(RT1), &request));
    // A connection without a request does not keep it up either.
    let _idle = connect(hub.addr);
    wait_until_waiting(&hub, &[RT1]);
    let message = format!(
        "No processes can be selected for runtime with Id <{}>",
        key(RT1).id()
    );
    hub.terminate();
    assert_eq!(answer(&request, &receive(&mut stream)), refused(200, message));
    assert!(hub.wait().success());
}
