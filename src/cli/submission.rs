//! Submitting once, also when the reply is lost.
//!
//! A submit is never simply sent again: the first one may be executing already. So every spec carries a random submission id
//! in its environment. When no answer came, it is looked for by that id; if it is there, it was submitted. If it
//! is not there, it may still be on its way, and land later. An Outpost hub (it shows itself by its `Outpost-Time`
//! header) takes a submission id once, so there the spec is sent again under the same id. Of any other server the truth is
//! reported: it is not known.

use std::time::Duration;

use tokio::time::Instant;

use crate::client::{Caller, ClientError, Look, random_submission_id};
use crate::protocol::model::{Process, ProcessSpec, SUBMISSION_ID};

/// How long after a lost reply the submission is looked for.
const LOOKING: Duration = Duration::from_secs(15);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// How often a hub is sent the same submission at most.
const SENT_AT_MOST: u32 = 3;
/// How far back a submission is looked for that brings its own id, in seconds.
const A_DAY: i64 = 24 * 3600;

/// How a submission came to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// The server answered.
    Answered,
    /// No answer came, but it is there.
    Found,
}

/// Why a submission is not known to be there.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// It was certainly not submitted.
    #[error(transparent)]
    NotSubmitted(#[from] ClientError),
    /// It may have been submitted.
    #[error(
        "it is not known whether the process was submitted ({cause}); before submitting again, look for its submission id: \
         outpost ps --json | grep {submission_id}"
    )]
    Unknown {
        /// The id in its environment.
        submission_id: String,
        /// Why no answer came.
        cause: ClientError,
    },
    /// No random id could be made.
    #[error("the system gives no random numbers: {0}")]
    NoRandom(getrandom::Error),
}

/// Submits `spec` once. `tell` hears what is done about a lost reply.
///
/// # Errors
/// [`SubmitError`].
pub async fn submit(
    caller: &Caller,
    mut spec: ProcessSpec,
    tell: &mut (dyn FnMut(String) + Send),
) -> Result<(Process, How), SubmitError> {
    let colony = spec.conditions.colony_id.clone();
    let id = match spec.env.get(SUBMISSION_ID) {
        Some(own) => {
            let own = own.clone();
            // Whoever chose the id may be repeating himself.
            if let Look::Found(process) = caller.find_submission(&colony, &own, A_DAY).await? {
                return Ok((*process, How::Found));
            }
            own
        }
        None => {
            let id = random_submission_id().map_err(SubmitError::NoRandom)?;
            spec.env.insert(SUBMISSION_ID.to_owned(), id.clone());
            id
        }
    };
    let start = Instant::now();
    let mut sent = 0;
    let mut unsure: Option<ClientError> = None;
    loop {
        sent += 1;
        let cause = match caller.submit(&spec).await {
            Ok(process) => return Ok((process.value, How::Answered)),
            Err(error) if error.may_have_been_executed() => error,
            // This one was not executed, but one before it may have been.
            Err(error) => unsure.take().map_or_else(|| Err(error), Ok)?,
        };
        tell(format!(
            "it is not known what became of the submission {id} ({cause}); looking whether it is there"
        ));
        let unknown = |cause| SubmitError::Unknown {
            submission_id: id.clone(),
            cause,
        };
        let deadline = Instant::now() + LOOKING;
        loop {
            // In the server's seconds, so with some to spare for its clock.
            let back = i64::try_from(start.elapsed().as_secs()).unwrap_or(A_DAY) + 60;
            match caller.find_submission(&colony, &id, back).await {
                Ok(Look::Found(process)) => return Ok((*process, How::Found)),
                Ok(Look::Absent { dedupes: true }) if sent < SENT_AT_MOST => break,
                Ok(Look::Absent { .. }) => {}
                Err(error @ ClientError::Refused(_)) => return Err(unknown(error)),
                Err(error) => tracing::debug!(%error, "looking for a submission"),
            }
            if Instant::now() + PAUSE > deadline {
                return Err(unknown(cause));
            }
            tokio::time::sleep(PAUSE).await;
        }
        tell("it is not there; the hub takes each submission once, so it is sent again".to_owned());
        unsure = Some(cause);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use bytes::Bytes;

    use super::*;
    use crate::client::{Client, Exchange, Exchanging, Stamps, Transport, TransportError, Unreachable};
    use crate::clock::BootTime;
    use crate::protocol::dialect::Dialect;
    use crate::protocol::{Answer, Envelope, Kind, PrivateKey, Refusal, Reply, Request, Time};

    /// A server that loses what it is told to lose.
    #[derive(Default)]
    struct World {
        hub: bool,
        /// What happens to each submit in turn: is it stored, is it answered.
        fates: Vec<(Stored, Answered)>,
        submits: usize,
        stored: Vec<Process>,
        landing: Option<ProcessSpec>,
        looks: usize,
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Stored {
        Yes,
        No,
        /// At the fifth list that is asked for afterwards.
        Later,
    }

    #[derive(Clone, Copy, PartialEq)]
    enum Answered {
        Yes,
        Lost,
        Unreachable,
        Refused,
    }

    impl World {
        fn store(&mut self, spec: ProcessSpec) -> Process {
            let id = spec.env[SUBMISSION_ID].clone();
            if self.hub
                && let Some(there) = self
                    .stored
                    .iter()
                    .find(|process| process.spec.env[SUBMISSION_ID] == id)
            {
                return there.clone();
            }
            let process = Process {
                id: format!("process {}", self.stored.len()),
                spec,
                ..Process::default()
            };
            self.stored.push(process.clone());
            process
        }

        fn answer(&mut self, request: Request) -> Result<Option<Answer>, TransportError> {
            match request {
                Request::Submit(spec) => {
                    let (stored, answered) = self.fates.get(self.submits).copied().expect("one more submit");
                    self.submits += 1;
                    let mut process = Process::default();
                    match stored {
                        Stored::Yes => process = self.store(*spec),
                        Stored::Later => self.landing = Some(*spec),
                        Stored::No => {}
                    }
                    match answered {
                        Answered::Yes => Ok(Some(Answer::Process(Box::new(process)))),
                        Answered::Lost => Err(TransportError::Lost {
                            reason: "test".into(),
                        }),
                        Answered::Unreachable => Err(TransportError::Unreachable(Unreachable::Refused)),
                        Answered::Refused => Ok(None),
                    }
                }
                Request::GetHistory { state, seconds, .. } => {
                    assert!(seconds >= 60);
                    self.looks += 1;
                    if self.looks >= 5
                        && let Some(spec) = self.landing.take()
                    {
                        self.store(spec);
                    }
                    let found = self
                        .stored
                        .iter()
                        .filter(|process| process.state == state)
                        .cloned()
                        .collect();
                    Ok(Some(Answer::Processes(found)))
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[derive(Clone)]
    struct Line(Arc<Mutex<World>>);

    impl Transport for Line {
        fn exchange(&self, body: Bytes, _wait: Duration) -> Exchanging<'_> {
            let dialect = Dialect::Runtime;
            let envelope = Envelope::parse(&body).unwrap();
            let kind = dialect.kind(envelope.payload_type()).unwrap();
            let request = dialect.decode_request(kind, &envelope.payload()).unwrap();
            let mut world = self.0.lock().unwrap();
            let answer = world.answer(request).map(|answer| {
                let reply = match answer {
                    Some(answer) => {
                        Reply::success(dialect.payload_type(kind), dialect.encode_answer(kind, &answer))
                    }
                    None => Reply::failure(
                        &dialect.failure(Some(Kind::Submit), &Refusal::NotApproved { caller: "x".into() }),
                    ),
                };
                Exchange {
                    status: 200,
                    body: reply.to_bytes().into(),
                    location: None,
                    stamps: Stamps {
                        sent_at: BootTime::default(),
                        received_at: BootTime::default(),
                        date: None,
                        outpost_time: world.hub.then_some(Time::NEVER),
                    },
                }
            });
            Box::pin(std::future::ready(answer))
        }

        fn server(&self) -> &str {
            "http://test"
        }
    }

    async fn submitted(
        hub: bool,
        fates: &[(Stored, Answered)],
    ) -> (Result<(Process, How), SubmitError>, Arc<Mutex<World>>) {
        let world = Arc::new(Mutex::new(World {
            hub,
            fates: fates.to_vec(),
            ..World::default()
        }));
        let key = PrivateKey::from_hex(&"22".repeat(32)).unwrap();
        let caller = Client::new(Line(world.clone()), Dialect::Runtime).with_key(key);
        let result = submit(&caller, ProcessSpec::default(), &mut |_| ()).await;
        (result, world)
    }

    #[tokio::test(start_paused = true)]
    async fn an_answered_submit_is_one_request() {
        let (result, world) = submitted(false, &[(Stored::Yes, Answered::Yes)]).await;
        let (process, how) = result.unwrap();
        assert_eq!(how, How::Answered);
        assert_eq!(process.spec.env[SUBMISSION_ID].len(), 32);
        let world = world.lock().unwrap();
        assert_eq!((world.submits, world.looks), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_certainly_not_submitted_is_said_to_be_so() {
        for fate in [Answered::Unreachable, Answered::Refused] {
            let (result, world) = submitted(true, &[(Stored::No, fate)]).await;
            assert!(matches!(result, Err(SubmitError::NotSubmitted(_))));
            assert_eq!(world.lock().unwrap().looks, 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_reply_is_looked_for() {
        for hub in [false, true] {
            let (result, world) = submitted(hub, &[(Stored::Yes, Answered::Lost)]).await;
            assert_eq!(result.unwrap().1, How::Found);
            let world = world.lock().unwrap();
            assert_eq!((world.submits, world.stored.len()), (1, 1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_lands_late_is_found_and_not_doubled() {
        let (result, world) = submitted(false, &[(Stored::Later, Answered::Lost)]).await;
        assert_eq!(result.unwrap().1, How::Found);
        let world = world.lock().unwrap();
        assert_eq!((world.submits, world.stored.len()), (1, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn another_server_is_never_sent_it_again() {
        let start = Instant::now();
        let (result, world) = submitted(false, &[(Stored::No, Answered::Lost)]).await;
        let error = result.unwrap_err();
        assert!(matches!(error, SubmitError::Unknown { .. }), "{error}");
        assert!(error.to_string().contains("outpost ps --json | grep"), "{error}");
        assert!(start.elapsed() >= LOOKING - PAUSE);
        assert_eq!(world.lock().unwrap().submits, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_hub_is_sent_it_again_under_the_same_id() {
        let fates = [(Stored::No, Answered::Lost), (Stored::Yes, Answered::Yes)];
        let (result, world) = submitted(true, &fates).await;
        assert_eq!(result.unwrap().1, How::Answered);
        assert_eq!(world.lock().unwrap().stored.len(), 1);

        // The first lands between the look and the repetition: still one process.
        let fates = [(Stored::Later, Answered::Lost), (Stored::Yes, Answered::Lost)];
        let (result, world) = submitted(true, &fates).await;
        assert_eq!(result.unwrap().1, How::Found);
        assert_eq!(world.lock().unwrap().stored.len(), 1);

        // Not for ever.
        let (result, world) = submitted(true, &[(Stored::No, Answered::Lost); 3]).await;
        assert!(matches!(result, Err(SubmitError::Unknown { .. })));
        assert_eq!(world.lock().unwrap().submits, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_repetition_does_not_make_the_first_one_certain() {
        let fates = [(Stored::No, Answered::Lost), (Stored::No, Answered::Refused)];
        let (result, _) = submitted(true, &[fates[0], fates[1], fates[0]]).await;
        assert!(matches!(result, Err(SubmitError::Unknown { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn a_chosen_id_is_looked_for_first() {
        let world = Arc::new(Mutex::new(World {
            fates: vec![(Stored::Yes, Answered::Yes)],
            ..World::default()
        }));
        let key = PrivateKey::from_hex(&"22".repeat(32)).unwrap();
        let caller = Client::new(Line(world.clone()), Dialect::Runtime).with_key(key);
        let spec = ProcessSpec {
            env: [(SUBMISSION_ID.to_owned(), "mine".to_owned())].into(),
            ..ProcessSpec::default()
        };
        let (first, how) = submit(&caller, spec.clone(), &mut |_| ()).await.unwrap();
        assert_eq!(how, How::Answered);
        let (second, how) = submit(&caller, spec, &mut |_| ()).await.unwrap();
        assert_eq!((second.id, how), (first.id, How::Found));
    }
}
