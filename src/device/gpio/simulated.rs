//! Lines without hardware: every edge is recorded with its time and told to whoever listens.
//!
//! A line that was never driven rests at its inactive level, as a pull resistor would hold it; so taking a line
//! with the initial level *on* is an edge, with *off* it is none. Whatever name or chip is asked for exists. An input
//! reads as inactive until it is set by hand ([`SimulatedBoard::set_input`]) or wired to an output; who watches it is told.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::line::{LineSpec, Physical};
use super::watched::{LineEvent, WatchedLine, Watching};
use super::{GpioBackend, GpioError, InputLine, Level, OutputLine};
use crate::clock::{BootTime, SharedClock};
use crate::device::lock;

/// So many edges are kept; the oldest go first. A simulated agent may run for months.
const EDGES_KEPT: usize = 10_000;

/// A change of a line's level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// The line as the configuration writes it: `GPIO17`, or `LABEL/OFFSET`.
    pub line: String,
    /// Who held the line, as given when it was requested.
    pub consumer: String,
    /// The level from now on.
    pub level: Level,
    /// The voltage from now on.
    pub physical: Physical,
    /// When, in boot time.
    pub at: BootTime,
    /// When, by the machine's wall clock: nanoseconds since 1970.
    pub wall_nanos: i128,
}

/// What can be wrong with a simulated line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineFault {
    /// The voltage stays whatever is set: a short, or something else that drives the line.
    Stuck(Physical),
    /// Setting and reading fail with this error number.
    Error(i32),
}

type Listener = Arc<dyn Fn(&Edge) + Send + Sync>;

/// A board of simulated lines; clones are the same board.
#[derive(Clone)]
pub struct SimulatedBoard {
    clock: SharedClock,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    lines: BTreeMap<String, Line>,
    edges: VecDeque<Edge>,
    listeners: Vec<Listener>,
    /// Inputs by the output that they show.
    wires: BTreeMap<String, LineSpec>,
}

#[derive(Default)]
struct Line {
    /// The voltage that was set last; `None` while the line was never driven.
    driven: Option<Physical>,
    holder: Option<String>,
    fault: Option<LineFault>,
    /// Who watches it as an input.
    watcher: Option<mpsc::UnboundedSender<Seen>>,
}

/// What who watches a line is told.
enum Seen {
    Voltage(Physical, BootTime),
    /// It was broken with this error number.
    Broken(i32),
}

impl Line {
    /// The voltage is this from now on, whoever makes it so.
    fn show(&mut self, physical: Physical, at: BootTime) {
        let before = self.driven.replace(physical);
        if before != Some(physical)
            && self.fault.is_none()
            && let Some(watcher) = &self.watcher
        {
            let _ = watcher.send(Seen::Voltage(physical, at));
        }
    }
}

impl SimulatedBoard {
    /// A board whose lines were never driven.
    pub fn new(clock: SharedClock) -> Self {
        SimulatedBoard {
            clock,
            state: Arc::default(),
        }
    }

    /// The edges so far, oldest first (the last 10,000).
    pub fn edges(&self) -> Vec<Edge> {
        lock(&self.state).edges.iter().cloned().collect()
    }

    /// The edges of one line so far, as levels, oldest first.
    pub fn levels(&self, line: &str) -> Vec<Level> {
        lock(&self.state)
            .edges
            .iter()
            .filter(|edge| edge.line == line)
            .map(|edge| edge.level)
            .collect()
    }

    /// The voltage on a line; `None` if it was never driven.
    pub fn physical(&self, line: &str) -> Option<Physical> {
        let state = lock(&self.state);
        let line = state.lines.get(line)?;
        match line.fault {
            Some(LineFault::Stuck(physical)) => Some(physical),
            _ => line.driven,
        }
    }

    /// Calls `listener` for every edge from now on, in the task that made the edge: it must not block. Edges
    /// of one line come in order. It may use the board.
    pub fn on_edge(&self, listener: impl Fn(&Edge) + Send + Sync + 'static) {
        lock(&self.state).listeners.push(Arc::new(listener));
    }

    /// Breaks a line, or repairs it with `None`. Breaking makes no edge.
    pub fn set_fault(&self, line: &str, fault: Option<LineFault>) {
        let mut state = lock(&self.state);
        let line = state.lines.entry(line.to_owned()).or_default();
        line.fault = fault;
        if let (Some(LineFault::Error(errno)), Some(watcher)) = (fault, &line.watcher) {
            let _ = watcher.send(Seen::Broken(errno));
        }
    }

    /// Sets an input's level from outside. Who watches it is told; it is no edge of the board's, which are what was driven.
    pub fn set_input(&self, input: &LineSpec, level: Level) {
        let now = self.clock.now();
        let mut state = lock(&self.state);
        let line = state.lines.entry(input.to_string()).or_default();
        line.show(level.physical(input.active_low), now);
    }

    /// Wires an input to an output, as a contact would be: from now on it shows the output's level at once.
    pub fn wire(&self, output: &LineSpec, input: &LineSpec) {
        lock(&self.state).wires.insert(output.to_string(), input.clone());
    }

    /// Says what a line is that nobody here has driven yet, as an earlier holder may have left it; makes no edge.
    pub fn assume(&self, output: &LineSpec, level: Level) {
        let mut state = lock(&self.state);
        let line = state.lines.entry(output.to_string()).or_default();
        line.driven = Some(level.physical(output.active_low));
    }

    /// Makes `consumer` the holder of a line that is free.
    fn take(&self, spec: &LineSpec, consumer: &str) -> Result<SimulatedLine, GpioError> {
        let mut state = lock(&self.state);
        let line = state.lines.entry(spec.to_string()).or_default();
        if let Some(holder) = &line.holder {
            return Err(GpioError::Busy {
                line: spec.to_string(),
                holder_name: holder.clone(),
            });
        }
        line.holder = Some(consumer.to_owned());
        Ok(SimulatedLine {
            board: self.clone(),
            spec: spec.clone(),
            consumer: consumer.to_owned(),
        })
    }

    /// Drives a line and tells everybody if that is an edge.
    fn drive(&self, spec: &LineSpec, consumer: &str, level: Level) -> Result<(), GpioError> {
        let name = spec.to_string();
        let physical = level.physical(spec.active_low);
        let (edge, listeners) = {
            let mut state = lock(&self.state);
            let line = state.lines.entry(name.clone()).or_default();
            match line.fault {
                Some(LineFault::Error(errno)) => return Err(failed(name, "set its level", errno)),
                Some(LineFault::Stuck(_)) => {
                    line.driven = Some(physical);
                    return Ok(());
                }
                None => {}
            }
            let before = line
                .driven
                .replace(physical)
                .unwrap_or(Level::Off.physical(spec.active_low));
            if let Some(input) = state.wires.get(&name).cloned() {
                let line = state.lines.entry(input.to_string()).or_default();
                line.show(level.physical(input.active_low), self.clock.now());
            }
            if before == physical {
                return Ok(());
            }
            let (at, wall_nanos) = (self.clock.now(), self.clock.wall_nanos());
            let edge = Edge {
                line: name,
                consumer: consumer.to_owned(),
                level,
                physical,
                at,
                wall_nanos,
            };
            if state.edges.len() == EDGES_KEPT {
                state.edges.pop_front();
            }
            state.edges.push_back(edge.clone());
            (edge, state.listeners.clone())
        };
        tracing::debug!(line = %edge.line, level = %edge.level, "edge");
        for listener in &listeners {
            listener(&edge);
        }
        Ok(())
    }
}

fn failed(line: String, action: &'static str, errno: i32) -> GpioError {
    GpioError::Io {
        line,
        action,
        cause: io::Error::from_raw_os_error(errno),
    }
}

impl fmt::Debug for SimulatedBoard {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.state);
        out.debug_struct("SimulatedBoard")
            .field("lines", &state.lines.len())
            .field("edges", &state.edges.len())
            .finish_non_exhaustive()
    }
}

impl GpioBackend for SimulatedBoard {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn request_output(
        &self,
        spec: &LineSpec,
        initial: Level,
        consumer: &str,
    ) -> Result<Box<dyn OutputLine>, GpioError> {
        // From here on dropping the line releases it, also if driving fails.
        let mut line = self.take(spec, consumer)?;
        line.set(initial)?;
        Ok(Box::new(line))
    }

    fn request_input(&self, spec: &LineSpec, consumer: &str) -> Result<Box<dyn InputLine>, GpioError> {
        Ok(Box::new(self.take(spec, consumer)?))
    }

    /// Nothing is debounced here, so that who debounces by the clock can be tried.
    fn watch_input(
        &self,
        spec: &LineSpec,
        _watching: Watching,
        consumer: &str,
    ) -> Result<Box<dyn WatchedLine>, GpioError> {
        let line = self.take(spec, consumer)?;
        let (watcher, seen) = mpsc::unbounded_channel();
        if let Some(line) = lock(&self.state).lines.get_mut(&spec.to_string()) {
            line.watcher = Some(watcher);
        }
        Ok(Box::new(WatchedSimulatedLine { line, seen }))
    }
}

/// An input of the board that somebody watches.
struct WatchedSimulatedLine {
    line: SimulatedLine,
    seen: mpsc::UnboundedReceiver<Seen>,
}

impl InputLine for WatchedSimulatedLine {
    fn get(&mut self) -> Result<Level, GpioError> {
        InputLine::get(&mut self.line)
    }

    fn describe(&self) -> String {
        InputLine::describe(&self.line)
    }
}

#[async_trait]
impl WatchedLine for WatchedSimulatedLine {
    async fn next(&mut self) -> Result<LineEvent, GpioError> {
        let SimulatedLine { board, spec, .. } = &self.line;
        match self.seen.recv().await {
            Some(Seen::Voltage(physical, at)) => Ok(LineEvent {
                level: physical.logical(spec.active_low),
                age: board.clock.now().saturating_since(at),
            }),
            Some(Seen::Broken(errno)) => Err(failed(spec.to_string(), "wait for its edges", errno)),
            // The board holds the sender as long as the line is held.
            None => std::future::pending().await,
        }
    }

    fn is_debounced(&self) -> bool {
        false
    }
}

/// A line of the board that somebody holds.
struct SimulatedLine {
    board: SimulatedBoard,
    spec: LineSpec,
    consumer: String,
}

impl OutputLine for SimulatedLine {
    fn set(&mut self, level: Level) -> Result<(), GpioError> {
        self.board.drive(&self.spec, &self.consumer, level)
    }

    fn get(&mut self) -> Result<Level, GpioError> {
        self.read("read its level back")
    }

    fn describe(&self) -> String {
        format!("{} (simulated)", self.spec)
    }
}

impl InputLine for SimulatedLine {
    fn get(&mut self) -> Result<Level, GpioError> {
        self.read("read it")
    }

    fn describe(&self) -> String {
        format!("{} (simulated)", self.spec)
    }
}

impl SimulatedLine {
    fn read(&self, action: &'static str) -> Result<Level, GpioError> {
        let name = self.spec.to_string();
        let state = lock(&self.board.state);
        let line = state.lines.get(&name);
        let physical = match line.and_then(|line| line.fault) {
            Some(LineFault::Error(errno)) => return Err(failed(name, action, errno)),
            Some(LineFault::Stuck(physical)) => Some(physical),
            None => line.and_then(|line| line.driven),
        };
        Ok(physical.map_or(Level::Off, |physical| physical.logical(self.spec.active_low)))
    }
}

impl Drop for SimulatedLine {
    fn drop(&mut self) {
        // The level stays, as most chips keep it.
        if let Some(line) = lock(&self.board.state).lines.get_mut(&self.spec.to_string()) {
            line.holder = None;
            line.watcher = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::TestClock;

    const WALL: i64 = 1_700_000_000_000_000_000;

    fn board() -> SimulatedBoard {
        SimulatedBoard::new(TestClock::new(WALL))
    }

    fn spec(active_low: bool) -> LineSpec {
        LineSpec {
            active_low,
            ..LineSpec::named("GPIO17")
        }
    }

    #[tokio::test(start_paused = true)]
    async fn edges_carry_both_levels_and_both_times() {
        let board = board();
        let mut line = board
            .request_output(&spec(true), Level::Off, "outpost:lamp")
            .unwrap();
        assert_eq!(board.edges(), [], "resting at the inactive level is no edge");
        assert_eq!(board.physical("GPIO17"), Some(Physical::High));
        tokio::time::advance(Duration::from_secs(2)).await;
        line.set(Level::On).unwrap();
        line.set(Level::On).unwrap();
        let edge = Edge {
            line: "GPIO17".into(),
            consumer: "outpost:lamp".into(),
            level: Level::On,
            physical: Physical::Low,
            at: BootTime::from_nanos(2_000_000_000),
            wall_nanos: i128::from(WALL) + 2_000_000_000,
        };
        assert_eq!(board.edges(), [edge], "setting the same level again is no edge");
        assert_eq!(line.get().unwrap(), Level::On);
    }

    #[tokio::test(start_paused = true)]
    async fn taking_a_line_as_on_is_an_edge_and_its_level_survives_release() {
        let board = board();
        drop(board.request_output(&spec(false), Level::On, "first").unwrap());
        assert_eq!(board.levels("GPIO17"), [Level::On]);
        drop(board.request_output(&spec(false), Level::On, "second").unwrap());
        assert_eq!(board.levels("GPIO17"), [Level::On], "it was on already");
        drop(board.request_output(&spec(false), Level::Off, "third").unwrap());
        assert_eq!(board.levels("GPIO17"), [Level::On, Level::Off]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_has_one_holder_until_it_is_released() {
        let board = board();
        let line = board
            .request_output(&spec(false), Level::Off, "outpost:lamp")
            .unwrap();
        let busy = board
            .request_output(&spec(false), Level::On, "thief")
            .err()
            .unwrap()
            .to_string();
        assert!(busy.contains("GPIO17 is in use by \"outpost:lamp\""), "{busy}");
        assert_eq!(board.edges(), [], "the thief drove nothing");
        drop(line);
        assert!(board.request_output(&spec(false), Level::Off, "next").is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn broken_lines_read_what_they_are_stuck_at_or_fail() {
        let board = board();
        let mut line = board.request_output(&spec(false), Level::Off, "x").unwrap();
        board.set_fault("GPIO17", Some(LineFault::Stuck(Physical::Low)));
        line.set(Level::On).unwrap();
        assert_eq!(line.get().unwrap(), Level::Off);
        board.set_fault("GPIO17", Some(LineFault::Error(5)));
        assert!(
            line.set(Level::Off)
                .unwrap_err()
                .to_string()
                .contains("os error 5")
        );
        assert!(line.get().is_err());
        board.set_fault("GPIO17", None);
        line.set(Level::Off).unwrap();
        assert_eq!(line.get().unwrap(), Level::Off);
    }

    #[tokio::test(start_paused = true)]
    async fn inputs_are_set_by_hand_or_show_the_output_that_they_are_wired_to() {
        let board = board();
        let contact = LineSpec {
            active_low: true,
            ..LineSpec::named("GPIO27")
        };
        let mut input = board.request_input(&contact, "outpost:lamp").unwrap();
        assert_eq!(input.get().unwrap(), Level::Off, "at rest");
        board.set_input(&contact, Level::On);
        assert_eq!(input.get().unwrap(), Level::On);
        assert_eq!(board.physical("GPIO27"), Some(Physical::Low));
        board.wire(&spec(false), &contact);
        let mut line = board.request_output(&spec(false), Level::Off, "x").unwrap();
        assert_eq!(input.get().unwrap(), Level::Off);
        line.set(Level::On).unwrap();
        assert_eq!(input.get().unwrap(), Level::On);
        board.set_fault("GPIO27", Some(LineFault::Stuck(Physical::Low)));
        line.set(Level::Off).unwrap();
        assert_eq!(input.get().unwrap(), Level::On, "welded");
        assert!(
            board.request_input(&contact, "thief").is_err(),
            "an input has one holder, too"
        );
        assert_eq!(board.levels("GPIO27"), [], "inputs make no edges");
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_earlier_holder_left_makes_taking_the_line_an_edge() {
        let board = board();
        board.assume(&spec(true), Level::On);
        drop(board.request_output(&spec(true), Level::Off, "x").unwrap());
        assert_eq!(board.levels("GPIO17"), [Level::Off]);
    }

    #[tokio::test(start_paused = true)]
    async fn listeners_hear_every_edge_and_may_look_at_the_board() {
        let board = board();
        let heard = Arc::new(Mutex::new(Vec::new()));
        board.on_edge({
            let (heard, board) = (heard.clone(), board.clone());
            move |edge| heard.lock().unwrap().push((edge.level, board.edges().len()))
        });
        let mut line = board.request_output(&spec(false), Level::Off, "x").unwrap();
        line.set(Level::On).unwrap();
        line.set(Level::Off).unwrap();
        assert_eq!(*heard.lock().unwrap(), [(Level::On, 1), (Level::Off, 2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_record_is_bounded() {
        let board = board();
        let mut line = board.request_output(&spec(false), Level::Off, "x").unwrap();
        for turn in 0..=EDGES_KEPT {
            line.set(if turn % 2 == 0 { Level::On } else { Level::Off })
                .unwrap();
        }
        let edges = board.edges();
        assert_eq!(edges.len(), EDGES_KEPT);
        assert_eq!(edges[0].level, Level::Off, "the first edge has gone");
    }
}
