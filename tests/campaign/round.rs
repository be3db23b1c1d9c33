//! One round: a hub, its agents, their work and their faults, and what was seen of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use outpost::client::{Caller, Client, ClientError, HttpSettings, HttpTransport, ServerUrl};
use outpost::clock::{SharedClock, SystemClock};
use outpost::keyfile;
use outpost::protocol::PrivateKey;
use outpost::protocol::dialect::Dialect;
use outpost::protocol::model::{ProcessSpec, Runtime, RuntimeState, SUBMISSION_ID};
use outpost::watch::Watched;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::judge::{Happened, Seen, Submitted, Witnessed, edges};
use crate::ledger;
use crate::plan::{Fault, Plan, Verb, Work, device};
use crate::processes::{Agent, Hub, Programs, wall};
use crate::proxy::{Assigned, Proxy};

/// How long everything may take to come to rest when nothing goes wrong any more.
const REST: Duration = Duration::from_secs(120);
/// How long that is waited for before the agents are started anew.
const REST_ALONE: Duration = Duration::from_secs(20);
/// So many agents are started at once.
const WAVE: usize = 10;
const A_MOMENT: Duration = Duration::from_millis(100);

type Happening = Arc<Mutex<Vec<Happened>>>;

/// Runs it, and gathers what was seen.
pub async fn run(plan: Plan, programs: &Programs, folder: &Path) -> Seen {
    let mut hub = Hub::start(&programs.hub, folder).await;
    hub.stop().await;
    ledger::watch(&hub.database());
    hub.restart().await;
    let owner_key = keyfile::load(&hub.colony_key()).unwrap();
    let colony = owner_key.id();
    let client = client(&format!("http://{}", hub.address));
    let owner = client.with_key(owner_key);
    let operator = enrol_operator(&client, &owner, &colony).await;

    let assigned = Assigned::default();
    let (mut agents, mut proxies) = (Vec::new(), Vec::new());
    for number in 0..plan.faults.len() {
        let (proxy, port) = Proxy::start(hub.address, programs.broken, assigned.clone())
            .await
            .unwrap();
        let mut agent = Agent::new(programs, folder, number, port, &colony, &hub);
        agent.start();
        proxies.push(proxy);
        agents.push(Arc::new(Mutex::new(agent)));
        // One wave after the other: a hundred at once, on two cores, would wait for each other's time limits.
        if agents.len() % WAVE == 0 || agents.len() == plan.faults.len() {
            approved(&owner, &colony, agents.len() + 1).await;
        }
    }

    let began = wall();
    let happening = Happening::default();
    let hub = Arc::new(Mutex::new(hub));
    let working = Watched::new(true);
    let mut ids = Vec::new();
    for agent in &agents {
        ids.push(agent.lock().await.id.clone());
    }
    let ids = Arc::new(ids);
    let mut submitting = JoinSet::new();
    for work in plan.work {
        submitting.spawn(submit_all(
            work,
            operator.clone(),
            colony.clone(),
            ids.clone(),
            working.clone(),
            assigned.clone(),
        ));
    }
    let mut faults = JoinSet::new();
    faults.spawn(strike_hub(plan.hub, hub.clone(), happening.clone()));
    for (number, of_agent) in plan.faults.into_iter().enumerate() {
        let (agent, proxy) = (agents[number].clone(), proxies[number].clone());
        faults.spawn(strike_agent(of_agent, number, agent, proxy, happening.clone()));
    }
    faults.join_all().await;
    working.send_replace(false);
    let submitted: Vec<Submitted> = submitting.join_all().await.into_iter().flatten().collect();
    let unspent = proxies.iter().map(Proxy::calm).sum();
    if !rest(&owner, &colony, REST_ALONE).await {
        // What a duplicate of a request was given no agent knows of. Without a lease it ends when the agent looks for such
        // work: at its start, and every five minutes.
        stop_all(&agents).await;
        for agent in &agents {
            agent.lock().await.start();
        }
        rest(&owner, &colony, REST).await;
    }
    stop_all(&agents).await;
    let mut hub = hub.lock().await;
    hub.stop().await;
    let mut witnessed = Vec::new();
    for (agent, proxy) in agents.iter().zip(&proxies) {
        let agent = agent.lock().await;
        witnessed.push(Witnessed {
            id: agent.id.clone(),
            edges: edges(&agent.lives),
            lives: agent.lives.clone(),
            told: proxy.told(),
        });
    }
    let happened = std::mem::take(&mut *happening.lock().await);
    Seen {
        began,
        submitted,
        stories: ledger::read(&hub.database()),
        agents: witnessed,
        happened,
        unspent,
    }
}

fn client(url: &str) -> Client {
    let clock: SharedClock = Arc::new(SystemClock);
    let url = ServerUrl::parse(url).unwrap();
    Client::new(
        HttpTransport::new(url, HttpSettings::default(), clock).unwrap(),
        Dialect::Runtime,
    )
}

async fn enrol_operator(client: &Client, owner: &Caller, colony: &str) -> Caller {
    let key = PrivateKey::from_hex(&"55".repeat(32)).unwrap();
    let operator = Runtime {
        id: key.id(),
        name: "operator".to_owned(),
        runtime_type: "operator".to_owned(),
        colony_id: colony.to_owned(),
        ..Runtime::default()
    };
    owner.add_runtime(&operator).await.unwrap();
    owner.approve_runtime(&operator.id).await.unwrap();
    client.with_key(key)
}

/// Waits until so many runtimes may work.
async fn approved(owner: &Caller, colony: &str, count: usize) {
    let deadline = Instant::now() + REST;
    loop {
        let runtimes = owner.get_runtimes(colony).await.unwrap().value;
        let approved = runtimes
            .iter()
            .filter(|runtime| runtime.state == RuntimeState::Approved)
            .count();
        if approved == count {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "only {approved} of {count} runtimes were ever approved"
        );
        sleep(A_MOMENT).await;
    }
}

async fn stop_all(agents: &[Arc<Mutex<Agent>>]) {
    let mut stopping = JoinSet::new();
    for agent in agents {
        let agent = agent.clone();
        stopping.spawn(async move { agent.lock().await.stop().await });
    }
    stopping.join_all().await;
}

/// Waits until nothing waits or runs. False: something still does; if it never ends the judge will find it.
async fn rest(owner: &Caller, colony: &str, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        if let Ok(statistics) = owner.colony_statistics(colony).await
            && statistics.value.waiting_processes + statistics.value.running_processes == 0
        {
            return true;
        }
        sleep(A_MOMENT).await;
    }
    false
}

async fn submit_all(
    work: Vec<Work>,
    operator: Caller,
    colony: String,
    ids: Arc<Vec<String>>,
    working: Watched<bool>,
    assigned: Assigned,
) -> Vec<Submitted> {
    let mut submitted = Vec::new();
    let mut deleting = JoinSet::new();
    for work in work {
        tokio::select! {
            () = sleep(work.pause) => {}
            () = working.wait_for(|working| !working) => break,
        }
        let spec = spec(&work, &colony, &ids);
        let id = loop {
            match operator.submit(&spec).await {
                Ok(process) => break process.value.id,
                // The hub is away, or was; the submission's own id makes it one process all the same.
                Err(_) => sleep(A_MOMENT).await,
            }
        };
        if let Some(later) = work.deleted_after {
            let (working, assigned) = (working.clone(), assigned.clone());
            deleting.spawn(delete(operator.clone(), id.clone(), later, working, assigned));
        }
        submitted.push(Submitted { id, work });
    }
    deleting.join_all().await;
    submitted
}

/// Deletes a process a while after it was assigned, or at the end. When that took effect the ledger says.
async fn delete(operator: Caller, id: String, later: Duration, working: Watched<bool>, assigned: Assigned) {
    let was_assigned = tokio::select! {
        () = assigned.wait_for(|assigned| assigned.contains(&id)) => true,
        () = working.wait_for(|working| !working) => false,
    };
    if was_assigned {
        sleep(later).await;
    }
    // Refused is what is gone already: by an attempt whose answer got lost.
    while !matches!(
        operator.delete_process(&id).await,
        Ok(_) | Err(ClientError::Refused(_))
    ) {
        sleep(A_MOMENT).await;
    }
}

fn spec(work: &Work, colony: &str, ids: &[String]) -> ProcessSpec {
    let args = match work.verb {
        Verb::Pulse(span) => vec![format!("{}ms", span.as_millis())],
        Verb::Toggle | Verb::On => Vec::new(),
    };
    let mut spec = ProcessSpec {
        func: format!("{}{}.{}", device(work.lamp), work.lamp, work.verb.name()),
        args: Some(args),
        max_wait_time: -1,
        max_exec_time: work.lease,
        max_retries: work.retries,
        ..ProcessSpec::default()
    };
    let first = work.agents[0];
    spec.env
        .insert(SUBMISSION_ID.to_owned(), format!("{first}/{}", work.lamp));
    spec.conditions.colony_id = colony.to_owned();
    spec.conditions.runtime_type = format!("pair-{}", first / 2);
    if let [one] = work.agents[..] {
        spec.conditions.runtime_ids = vec![ids[one].clone()];
    }
    spec
}

async fn note(happening: &Happening, agent: Option<usize>, fault: Fault) {
    happening.lock().await.push(Happened {
        at: wall(),
        agent,
        fault,
    });
}

async fn strike_hub(faults: Vec<(Duration, Fault)>, hub: Arc<Mutex<Hub>>, happening: Happening) {
    for (pause, fault) in faults {
        sleep(pause).await;
        note(&happening, None, fault).await;
        if let Fault::KillHub(span) = fault {
            let mut hub = hub.lock().await;
            hub.kill();
            sleep(span).await;
            hub.restart().await;
        }
    }
}

async fn strike_agent(
    faults: Vec<(Duration, Fault)>,
    number: usize,
    agent: Arc<Mutex<Agent>>,
    proxy: Proxy,
    happening: Happening,
) {
    for (pause, fault) in faults {
        sleep(pause).await;
        note(&happening, Some(number), fault).await;
        let mut agent = agent.lock().await;
        match fault {
            Fault::Kill(span) => {
                agent.kill();
                sleep(span).await;
                agent.start();
            }
            Fault::Freeze(span) => agent.freeze(span).await,
            Fault::Stop => {
                agent.stop().await;
                agent.start();
            }
            of_network => proxy.inflict(of_network),
        }
    }
}
