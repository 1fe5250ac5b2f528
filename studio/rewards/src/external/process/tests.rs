//! Judges that are a few lines of `sh`, which every Unix has.

use std::{fs, path::Path};

use musicrl_core::reward::{AudioView, TokensView};

use super::*;

/// `id LINE` prints the id of a request.
const ID: &str = r#"id() { rest=${1#*'"id":'}; printf '%s' "${rest%%,*}"; }
echo start >> starts
"#;
/// Answers every line with 0.5.
const GOOD: &str = r#"while read -r line; do printf '{"id": %s, "score": 0.5}\n' "$(id "$line")"; done"#;

/// A judge of `script` in `folder`, with settings as in a recipe's JSON twin.
fn judge(folder: &Path, script: &str, settings: &str) -> ProcessJudge {
    let config = serde_json::json!({ "command": ["sh", "-c", format!("{ID}{script}")], "folder": folder });
    let text = config.to_string();
    let text = format!("{}, {settings}}}", text.strip_suffix('}').unwrap());
    ProcessJudge::new("mine", serde_json::from_str(&text).unwrap()).unwrap()
}

fn mute(caption: &str) -> Clip<'_> {
    Clip { caption, tokens: TokensView { ids: &[7, 8], slots: 2 }, audio: None }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// How often the judge was started.
fn starts(folder: &Path) -> usize {
    fs::read_to_string(folder.join("starts")).unwrap_or_default().lines().count()
}

fn failure(judge: &ProcessJudge, clips: &[Clip<'_>]) -> String {
    judge.score(clips).unwrap_err().to_string()
}

#[test]
fn answers_find_their_clips_in_any_order() {
    let folder = folder();
    let script = r#"while read -r a && read -r b && read -r c; do
        printf '{"id": %s, "score": 3e0}\n\n{"unscorable": "silent", "id": %s}\n' "$(id "$c")" "$(id "$b")"
        printf '{"id": %s, "score": NaN}\n' "$(id "$a")"
    done"#;
    let judge = judge(folder.path(), script, r#""audio": false"#);
    assert!(!judge.hears_audio() && judge.name() == "mine");
    for _ in 0..3 {
        let scores = judge.score(&[mute("a"), mute("b"), mute("c")]).unwrap();
        assert!(matches!(&scores[0], Score::Unscorable(why) if why.contains("finite")));
        assert_eq!(scores[1..], [Score::Unscorable("silent".into()), Score::Value(3.0)]);
    }
    assert!(judge.score(&[]).unwrap().is_empty());
    assert_eq!(starts(folder.path()), 1, "it is kept");
}

#[test]
fn a_program_that_ends_is_started_again_and_asked_for_the_rest() {
    let folder = folder();
    // Two answers, and it is gone.
    let script = r#"for n in 1 2; do read -r line || exit; echo "$line" >> asked
        printf '{"id": %s, "score": %s}\n' "$(id "$line")" "$n"; done"#;
    let judge = judge(folder.path(), script, r#""audio": false, "restarts": 1"#);
    let clips = [mute("a"), mute("b"), mute("c")];
    let scores = judge.score(&clips).unwrap();
    assert_eq!(scores, [Score::Value(1.0), Score::Value(2.0), Score::Value(1.0)]);
    let asked = fs::read_to_string(folder.path().join("asked")).unwrap();
    assert_eq!(asked.lines().count(), 3, "what was answered is not asked again: {asked}");
    // The limit is on restarts in a row: a batch that was answered in the end starts the count anew.
    assert_eq!(judge.score(&clips[..2]).unwrap().len(), 2);
    assert_eq!(judge.score(&clips[..2]).unwrap().len(), 2);
}

#[test]
fn a_program_that_dies_for_good_is_given_up() {
    let folder = folder();
    let judge = judge(folder.path(), "echo 'no model here' >&2; exit 3", r#""audio": false, "restarts": 2"#);
    let error = failure(&judge, &[mute("a")]);
    for expected in ["`mine`", "2 restarts", "0 of 1 answers", "exit status: 3", "no model here"] {
        assert!(error.contains(expected), "{expected} not in {error}");
    }
    assert_eq!(starts(folder.path()), 3);
}

/// Whether a process lives; a zombie does not. Known on Linux alone.
fn alive(pid: &str) -> bool {
    // The state stands behind the name.
    fs::read_to_string(Path::new("/proc").join(pid.trim()).join("stat")).is_ok_and(|stat| !stat.contains(") Z"))
}

#[test]
fn a_program_that_hangs_is_killed_with_its_children() {
    // The second one ends and leaves a child that holds its output open.
    for (end, expected) in [("wait", "it was ended"), ("exit 3", "exit status: 3")] {
        let folder = folder();
        let script = format!("sleep 60 & echo $! > child; echo 'loading' >&2; {end}");
        let judge = judge(folder.path(), &script, r#""audio": false, "restarts": 0, "timeout_seconds": 1"#);
        let start = Instant::now();
        let error = failure(&judge, &[mute("a")]);
        for expected in ["more than 1 s", "loading", expected] {
            assert!(error.contains(expected), "{expected} not in {error}");
        }
        assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
        let child = fs::read_to_string(folder.path().join("child")).unwrap();
        let gone = (0..400).any(|_| {
            let gone = !alive(&child);
            if !gone {
                std::thread::sleep(Duration::from_millis(5));
            }
            gone
        });
        assert!(gone, "the judge's child lives on");
    }
}

#[test]
fn a_program_that_never_reads_does_not_hold_us_up() {
    let folder = folder();
    let judge = judge(folder.path(), "exec sleep 60", r#""audio": false, "restarts": 1, "timeout_seconds": 0.3"#);
    // Far more than a pipe holds.
    let caption = "x".repeat(10_000);
    let clips = vec![mute(&caption); 200];
    let start = Instant::now();
    let error = failure(&judge, &clips);
    assert!(error.contains("0 of 200"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

#[test]
fn full_pipes_in_both_directions_do_not_block() {
    let folder = folder();
    let note = "y".repeat(4_000);
    let script = format!(
        r#"while read -r line; do rest=${{line#*'"id":'}}
        printf '{{"id": %s, "score": 1, "note": "{note}"}}\n' "${{rest%%,*}}"; done"#
    );
    let judge = judge(folder.path(), &script, r#""audio": false"#);
    let caption = "x".repeat(4_000);
    let scores = judge.score(&vec![mute(&caption); 400]).unwrap();
    assert_eq!(scores, vec![Score::Value(1.0); 400]);
}

#[test]
fn what_is_no_answer_is_told_and_not_tried_again() {
    for (script, expected) in [
        ("read -r line; echo 'Loading model...'; cat > /dev/null", "Loading model..."),
        (r#"read -r line; echo '{"id": 99, "score": 1}'; cat > /dev/null"#, "not asked"),
        ("read -r line; head -c 1100000 /dev/zero | tr '\\0' x; cat > /dev/null", "more than 1048576 bytes"),
        ("read -r line; printf 'a\\377b\\n'; cat > /dev/null", "no UTF-8"),
    ] {
        let folder = folder();
        let judge = judge(folder.path(), script, r#""audio": false"#);
        let error = failure(&judge, &[mute("a")]);
        assert!(error.contains(expected) && error.len() < 1_000, "{error}");
        assert_eq!(starts(folder.path()), 1, "{script}");
    }
    // One answer too many: it is the next batch that finds it.
    let folder = folder();
    let twice =
        r#"while read -r line; do for n in 1 2; do printf '{"id": %s, "score": 1}\n' "$(id "$line")"; done; done"#;
    let judge = judge(folder.path(), twice, r#""audio": false"#);
    assert_eq!(judge.score(&[mute("a")]).unwrap(), [Score::Value(1.0)]);
    assert!(failure(&judge, &[mute("a")]).contains("answered twice"));
}

#[test]
fn sounds_and_tokens_are_handed_over_and_taken_away() {
    let folder = folder();
    let script = r#"while read -r line; do path=${line#*'"audio":"'}; path=${path%%'"'*}
        printf '%s\n' "$path" >> paths; [ -f "$path" ] || exit 9
        case $line in *'"tokens":[7,8],"slots":2'*) ;; *) exit 8;; esac
        case $line in *fail*) exit 7;; esac
        printf '{"id": %s, "score": %s}\n' "$(id "$line")" "$(wc -c < "$path")"; done"#;
    let judge = judge(folder.path(), script, r#""tokens": true, "restarts": 0"#);
    assert!(judge.hears_audio());
    let samples = [0.25_f32; 100];
    let heard =
        |caption| Clip { audio: Some(AudioView { samples: &samples, sample_rate_hz: 16_000 }), ..mute(caption) };
    let scores = judge.score(&[heard("a"), mute("b"), heard("c")]).unwrap();
    // A header of 44 bytes, two bytes a sample.
    assert_eq!(scores, [Score::Value(244.0), Score::Unscorable("no audio".into()), Score::Value(244.0)]);
    assert!(failure(&judge, &[heard("fail")]).contains("exit status: 7"));
    let paths = fs::read_to_string(folder.path().join("paths")).unwrap();
    assert_eq!(paths.lines().count(), 3);
    for path in paths.lines() {
        assert!(!Path::new(path).parent().unwrap().exists(), "{path} is left");
    }
}

#[test]
fn its_input_ends_with_the_judge() {
    let folder = folder();
    let judge = judge(folder.path(), &format!("{GOOD}\necho done > ended"), r#""audio": false"#);
    assert_eq!(judge.score(&[mute("a")]).unwrap(), [Score::Value(0.5)]);
    drop(judge);
    assert_eq!(fs::read_to_string(folder.path().join("ended")).unwrap(), "done\n");
}

#[test]
fn a_program_that_cannot_be_started_is_named() {
    for (command, folder, expected) in [
        ("no-such-judge", ".", "no-such-judge"),
        ("./no-such-judge", "/", "no-such-judge"),
        ("sh", "/nowhere/at/all", "no such folder"),
    ] {
        let text = serde_json::json!({ "command": [command], "folder": folder }).to_string();
        let error = ProcessJudge::new("mine", serde_json::from_str(&text).unwrap()).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("mine"), "{error}");
    }
}
