//! Runs that are killed, interrupted, damaged or short of disk, and resumed: they end with the bytes of a run that was
//! not.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    thread,
    time::Duration,
};

use musicrl_core::random::{Key, Purpose};
use musicrl_pipeline::{
    Error, Result,
    run::{
        Best, Direction, Disk, DrivePlan, End, Keep, Kind, Machine, Observer, Progress, RunDir, Silent, SystemDisk,
        Versions, calibrate, drive, read_metrics, tensorboard::read_events,
    },
    training::{Files, Metrics, Training},
};

/// A state that every step changes as a function of itself and the step's keyed numbers alone.
struct Toy {
    state: Vec<u64>,
    pause: Duration,
    interrupt_at: Option<(u64, Arc<AtomicBool>)>,
    fail_at: Option<u64>,
}

impl Toy {
    fn new() -> Self {
        Self { state: vec![1; 2_000], pause: Duration::ZERO, interrupt_at: None, fail_at: None }
    }
}

impl Training for Toy {
    fn step(&mut self, step: u64) -> Result<Metrics> {
        if self.fail_at == Some(step) {
            return Err(Error::Guard { guard: "test", reason: "asked to fail".into() });
        }
        let key = Key::new(5, Purpose::Test).step(step);
        for (i, value) in self.state.iter_mut().enumerate() {
            *value = value.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(u64::from(key.words(i as u64)[0]));
        }
        thread::sleep(self.pause);
        if let Some((_, flag)) = self.interrupt_at.as_ref().filter(|(at, _)| *at == step) {
            flag.store(true, Ordering::Relaxed);
        }
        Ok(Metrics(vec![("loss".into(), self.state[0] as f64 / u64::MAX as f64)]))
    }

    fn state(&self) -> Result<Files> {
        let bytes = self.state.iter().flat_map(|value| value.to_le_bytes()).collect();
        Ok([("state.bin".to_string(), bytes), ("empty".to_string(), Vec::new())].into())
    }

    fn restore(&mut self, files: &Files) -> Result<()> {
        let bytes = files.get("state.bin").expect("the state");
        self.state = bytes.as_chunks::<8>().0.iter().map(|chunk| u64::from_le_bytes(*chunk)).collect();
        Ok(())
    }

    fn evaluate(&mut self, step: u64) -> Result<Metrics> {
        // Best in the middle of the run.
        Ok(Metrics(vec![("reward".into(), -(step as f64 - 20.0).abs())]))
    }
}

fn plan(steps: u64) -> DrivePlan {
    let best = Best { metric: "reward".into(), direction: Direction::Higher };
    let keep = Keep { last: 2, best: Some(best) };
    DrivePlan { steps, checkpoint_every: 5, evaluate_every: 10, keep, interrupt: None }
}

fn open(path: &Path) -> RunDir {
    RunDir::create_or_open(path, "toy = true\n", &Versions::new("flex", 5, Machine::default())).unwrap()
}

/// What must be equal: the files of the last checkpoint and the metrics.
fn result_bytes(path: &Path, step: u64) -> Vec<(PathBuf, Vec<u8>)> {
    let checkpoint = path.join(format!("checkpoints/step-{step:06}"));
    let mut files: Vec<PathBuf> = fs::read_dir(&checkpoint).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.push(path.join("metrics.jsonl"));
    files.sort();
    files.into_iter().map(|file| (file.strip_prefix(path).unwrap().into(), fs::read(&file).unwrap())).collect()
}

fn undisturbed(steps: u64) -> (tempfile::TempDir, Vec<(PathBuf, Vec<u8>)>) {
    let temp = tempfile::tempdir().unwrap();
    let outcome = drive(&mut Toy::new(), &open(temp.path()), &plan(steps), &mut Silent).unwrap();
    assert_eq!((outcome.end, outcome.step, outcome.resumed_from), (End::Finished, steps, None));
    let bytes = result_bytes(temp.path(), steps);
    (temp, bytes)
}

fn steps_in(path: &Path) -> Vec<u64> {
    open(path).checkpoints().steps().unwrap()
}

#[test]
fn a_whole_run_leaves_metrics_events_and_the_right_checkpoints() {
    let (temp, _) = undisturbed(43);
    assert_eq!(steps_in(temp.path()), [20, 40, 43], "the best one and the last two");
    let records = read_metrics(&temp.path().join("metrics.jsonl")).unwrap();
    let evaluated: Vec<u64> = records.iter().filter(|r| r.kind == Kind::Evaluation).map(|r| r.step).collect();
    assert_eq!(evaluated, [0, 10, 20, 30, 40, 43]);
    assert_eq!(records.iter().filter(|r| r.kind == Kind::Train).count(), 43);
    let events = read_events(&fs::read(open(temp.path()).events_path()).unwrap());
    assert_eq!(events.len(), 1 + records.len(), "the version and one event a line");
    assert_eq!(events[1].scalars, [("evaluation/reward".to_string(), -20.0)]);
}

#[test]
fn an_interrupted_run_resumes_to_the_same_bytes() {
    let (_temp, expected) = undisturbed(43);
    for at in [0, 4, 9, 16, 42] {
        let temp = tempfile::tempdir().unwrap();
        let flag = Arc::new(AtomicBool::new(false));
        let mut toy = Toy { interrupt_at: Some((at, Arc::clone(&flag))), ..Toy::new() };
        let interruptible = DrivePlan { interrupt: Some(flag), ..plan(43) };
        let outcome = drive(&mut toy, &open(temp.path()), &interruptible, &mut Silent).unwrap();
        // The last step ends the run anyway.
        assert_eq!(outcome.end, if at == 42 { End::Finished } else { End::Interrupted });
        assert_eq!(outcome.step, at + 1);
        let outcome = drive(&mut Toy::new(), &open(temp.path()), &plan(43), &mut Silent).unwrap();
        assert_eq!(outcome.resumed_from, Some(at + 1));
        assert_eq!(result_bytes(temp.path(), 43), expected, "interrupted in step {at}");
    }
}

#[test]
fn interrupted_before_the_first_step_there_is_a_checkpoint_of_the_start() {
    let temp = tempfile::tempdir().unwrap();
    let plan = DrivePlan { interrupt: Some(Arc::new(AtomicBool::new(true))), ..plan(43) };
    for _ in 0..2 {
        let outcome = drive(&mut Toy::new(), &open(temp.path()), &plan, &mut Silent).unwrap();
        assert_eq!((outcome.end, outcome.step), (End::Interrupted, 0));
    }
    assert_eq!(steps_in(temp.path()), [0]);
}

#[test]
fn a_failing_step_keeps_the_last_checkpoint_and_a_later_start_goes_on_from_it() {
    let (_temp, expected) = undisturbed(43);
    let temp = tempfile::tempdir().unwrap();
    let mut toy = Toy { fail_at: Some(13), ..Toy::new() };
    assert!(drive(&mut toy, &open(temp.path()), &plan(43), &mut Silent).is_err());
    assert_eq!(steps_in(temp.path()).last(), Some(&10));
    drive(&mut Toy::new(), &open(temp.path()), &plan(43), &mut Silent).unwrap();
    assert_eq!(result_bytes(temp.path(), 43), expected);
}

#[derive(Default)]
struct Notes(Vec<String>, Vec<Option<f64>>);

impl Observer for Notes {
    fn notice(&mut self, message: &str) {
        self.0.push(message.into());
    }

    fn stepped(&mut self, progress: &Progress<'_>) {
        self.1.push(progress.remaining_seconds);
    }
}

#[test]
fn a_damaged_last_checkpoint_is_named_and_the_one_before_taken_up() {
    let (temp, expected) = undisturbed(43);
    let state = temp.path().join("checkpoints/step-000043/state.bin");
    let mut bytes = fs::read(&state).unwrap();
    bytes[777] ^= 4;
    fs::write(&state, bytes).unwrap();
    let mut notes = Notes::default();
    let outcome = drive(&mut Toy::new(), &open(temp.path()), &plan(43), &mut notes).unwrap();
    assert_eq!(outcome.resumed_from, Some(40));
    assert!(notes.0[0].contains("state.bin"), "{:?}", notes.0);
    assert_eq!(result_bytes(temp.path(), 43), expected);
    assert!(temp.path().join("checkpoints/step-000043.refused").is_dir());
}

#[test]
fn the_remaining_time_is_unknown_at_first_and_nothing_at_the_end() {
    let temp = tempfile::tempdir().unwrap();
    let mut notes = Notes::default();
    drive(&mut Toy::new(), &open(temp.path()), &plan(43), &mut notes).unwrap();
    assert_eq!(notes.1[0], None);
    assert!(notes.1[10].unwrap() > 0.0);
    assert_eq!(notes.1.len(), 43);
}

#[test]
fn fewer_steps_than_are_done_is_an_error() {
    let (temp, _) = undisturbed(43);
    let error = drive(&mut Toy::new(), &open(temp.path()), &plan(42), &mut Silent).unwrap_err();
    assert!(matches!(error, Error::Config { ref field, .. } if field == "steps"), "{error}");
}

#[derive(Debug)]
struct FullAfter(AtomicI64);

impl Disk for FullAfter {
    fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if self.0.fetch_sub(bytes.len() as i64, Ordering::Relaxed) < bytes.len() as i64 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        SystemDisk.write_new(path, bytes)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        SystemDisk.sync_folder(path)
    }
}

#[test]
fn a_full_disk_stops_the_run_and_more_space_lets_it_end() {
    let (_temp, expected) = undisturbed(43);
    let temp = tempfile::tempdir().unwrap();
    let disk = Arc::new(FullAfter(50_000.into()));
    let versions = Versions::new("flex", 5, Machine::default());
    let dir = RunDir::create_or_open_on(disk, temp.path(), "toy = true\n", &versions).unwrap();
    let error = drive(&mut Toy::new(), &dir, &plan(43), &mut Silent).unwrap_err();
    assert!(error.is_disk_full() && error.to_string().contains("step-000020"), "{error}");
    drop(dir);
    assert_eq!(steps_in(temp.path()).last(), Some(&15));
    drive(&mut Toy::new(), &open(temp.path()), &plan(43), &mut Silent).unwrap();
    assert_eq!(result_bytes(temp.path(), 43), expected);
}

const CHILD: &str = "MUSICRL_TEST_KILLED_RUN";
const KILLED_STEPS: u64 = 203;

/// Not a test of its own: what the child process of the next test runs.
#[test]
fn child_of_the_killed_run() {
    if let Ok(path) = env::var(CHILD) {
        let mut toy = Toy { pause: Duration::from_millis(2), ..Toy::new() };
        drive(&mut toy, &open(Path::new(&path)), &plan(KILLED_STEPS), &mut Silent).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn killed_at_random_moments_it_ends_with_the_same_bytes() {
    let (_temp, expected) = undisturbed(KILLED_STEPS);
    let temp = tempfile::tempdir().unwrap();
    let mut moments = Key::new(1, Purpose::Test).stream();
    let mut kills = 0;
    for attempt in 0..200 {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "child_of_the_killed_run", "--test-threads=1"])
            .env(CHILD, temp.path())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        if attempt < 25 {
            thread::sleep(Duration::from_millis(10 + moments.below(60) as u64));
            // SIGKILL: nothing of the process runs after it.
            child.kill().unwrap();
        }
        let status = child.wait().unwrap();
        if status.success() {
            break;
        }
        assert!(status.code().is_none(), "killed, not failed: {status}");
        kills += 1;
    }
    assert!(kills >= 5, "only {kills} kills hit the run");
    assert_eq!(result_bytes(temp.path(), KILLED_STEPS), expected, "after {kills} kills");
}

#[test]
fn calibration_measures_and_leaves_the_training_as_it_was() {
    let (_temp, expected) = undisturbed(43);
    let temp = tempfile::tempdir().unwrap();
    let dir = open(temp.path());
    let mut toy = Toy { pause: Duration::from_millis(2), ..Toy::new() };
    let estimate = calibrate(&mut toy, &dir.checkpoints(), 43).unwrap().unwrap();
    assert!(estimate.total_seconds() >= 43.0 * 0.002, "{estimate:?}");
    assert_eq!(calibrate(&mut toy, &dir.checkpoints(), 5).unwrap(), None, "too short");
    drive(&mut toy, &dir, &plan(43), &mut Silent).unwrap();
    assert_eq!(result_bytes(temp.path(), 43), expected);
    assert_eq!(calibrate(&mut toy, &dir.checkpoints(), 43).unwrap(), None, "it has a checkpoint");
}
