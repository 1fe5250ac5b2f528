//! Whole pages of small runs made by hand.

use std::{
    fs,
    path::{Path, PathBuf},
};

use musicrl_codec::{audio::Audio, write::write_wav};

use super::{Report, ReportInput, ReportSettings, report};
use crate::figure::xml::{Node, assert_finite, parse};

const HOSTILE: &str = "</p><script>alert(1)</script> & \"loud\" <b>";

fn write(path: PathBuf, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// A run of one stage `s`, whose rewards are text adherence (learned) and the true utility (watched). Its evaluations are
/// (step, kl, adherence, utility).
fn run(dir: &Path, base: &str, steps: u64, evaluations: &[(u64, f64, f64, f64)]) {
    let recipe = format!(
        "seed = 7\n[base]\npath = \"{base}\"\n[captions]\nsource = \"etudes\"\ncount = 20\nheld_out_fraction = 0.2\n\
         [[stage]]\nname = \"s\"\nsteps = {steps}\nbatch = 8\nreference = \"base\"\nkl = {{ alpha = 0.1 }}\n\
         rewards = [{{ name = \"text_adherence\", weight = 1.0 }}, {{ name = \"true_utility_town\", weight = 0.0 }}]\n\
         checkpoint = {{ choose = \"best\", metric = \"reward_true_utility_town\", direction = \"higher\" }}\n"
    );
    write(dir.join("recipe.toml"), &recipe);
    let mut lines = String::new();
    for (step, kl, adherence, utility) in evaluations {
        if *step > 0 {
            lines += &format!(
                "{{\"step\":{step},\"train\":{{\"reward_text_adherence\":{adherence},\"kl\":{kl},\"reward\":{adherence}}}}}\n"
            );
        }
        lines += &format!(
            "{{\"step\":{step},\"evaluation\":{{\"reward\":{adherence},\"reward_text_adherence\":{adherence},\
             \"reward_true_utility_town\":{utility},\"kl\":{kl},\"diversity\":0.75}}}}\n"
        );
    }
    write(dir.join("stages/s/metrics.jsonl"), &lines);
    let versions = "{\"musicrl\":\"0.1.0\",\"burn\":\"0.22.1\",\"backend\":\"flex\",\"seed\":7,\
                    \"machine\":{\"cpu\":\"C\",\"threads\":2,\"system\":\"linux\"}}";
    write(dir.join("versions.json"), versions);
    write(dir.join("bundle/bundle.json"), "{\"format_version\":1,\"parts\":{}}");
}

fn clips(dir: &Path, step: u64, count: usize) {
    let folder = dir.join(format!("stages/s/samples/step-{step:06}"));
    fs::create_dir_all(&folder).unwrap();
    for index in 0..count {
        let samples = (0..1_600).map(|i| (i as f32 * 0.05 * (index + 1) as f32).sin() * 0.3).collect();
        write_wav(&folder.join(format!("{index:02}.wav")), &Audio::from_mono(samples, 16_000)).unwrap();
    }
}

const R: [(u64, f64, f64, f64); 3] = [(0, 0.0, 0.4, 0.1), (10, 2.0, 0.5, 0.4), (20, 4.0, 0.6, 0.2)];
const RU: [(u64, f64, f64, f64); 2] = [(0, 0.0, 0.5, 0.4), (5, 1.0, 0.55, 0.5)];

/// Base, R, and RU that starts from R, with ratings, a study and a preference model.
fn experiment(root: &Path) {
    run(&root.join("systems/r"), "embedded", 20, &R);
    run(&root.join("systems/au"), "systems/r/bundle", 5, &RU);
    write(root.join("experiment.toml"), "[[system]]\nname = \"r\"\n[[system]]\nname = \"au\"\n");
    let interval =
        |x: f64| format!("{{\"estimate\":{x},\"low\":{},\"high\":{},\"standard_error\":0.1}}", x - 0.1, x + 0.1);
    let evaluation = format!(
        "{{\"format_version\":1,\"seed\":1,\"statistics\":{{\"bootstrap\":{{\"resamples\":99,\"confidence\":0.95}}}},\
         \"systems\":[{{\"name\":\"r\"}},{{\"name\":\"au\"}}],\"panels\":[{{\"source\":{{\"kind\":\"simulated\",\
         \"population\":\"town\"}},\"label\":\"3 simulated listeners\",\"ratings\":30,\"prompts\":10,\"systems\":[{{\
         \"system\":\"r\",\"ratings\":15,\"mean_opinion_score\":{},\"wins\":3,\"ties\":1,\"losses\":6}}],\"pairs\":[{{\
         \"a\":\"r\",\"b\":\"au\",\"tally\":{{\"wins\":3,\"ties\":1,\"losses\":6}},\"prompts\":10,\"win_rate\":{},\
         \"signed_rank\":{{\"p_value\":0.02,\"p_holm\":0.04}}}}],\"leaderboard\":{{\"rows\":[{{\"system\":\"au\",\
         \"score\":{},\"best_share\":0.9}}]}},\"notes\":[\"{}\"]}}],\"listening\":{{\"judge\":\"r\",\"sound\":[{{\
         \"system\":\"r\",\"clips\":10,\"silent_clips\":0.1}}],\"measures\":[{{\"name\":\"text_adherence\",\"systems\":[{{\
         \"system\":\"r\",\"mean\":{}}}]}}],\"distribution\":{{\"systems\":[{{\"name\":\"r\",\"clips\":10,\
         \"frechet\":1.5}}]}}}}}}",
        interval(3.2),
        interval(1.0 / 3.0),
        interval(0.4),
        HOSTILE.replace('"', "\\\""),
        interval(0.5),
    );
    write(root.join("evaluation/evaluation.json"), &evaluation);
    write(root.join("preference/metrics.jsonl"), "{\"step\":4,\"evaluation\":{\"accuracy\":0.6,\"epoch\":1}}\n");
    let study = "[{\"name\":\"3 s\",\"points\":[{\"epoch\":1,\"accuracy\":0.55,\"low\":0.5,\"high\":0.6}]}]";
    write(root.join("study.json"), study);
}

fn made(input: &[PathBuf]) -> Report {
    report(&ReportInput { runs: input.to_vec(), evaluation: None }, &ReportSettings::default()).unwrap()
}

/// The nodes of the page, which is well-formed XML behind its first line.
fn nodes(page: &str) -> Vec<Node> {
    parse(page.strip_prefix("<!DOCTYPE html>\n").unwrap()).unwrap()
}

fn texts(nodes: &[Node]) -> Vec<&str> {
    let mut texts = Vec::new();
    for node in nodes {
        if let Node::Text(text) = node {
            texts.push(text.trim());
        }
    }
    texts
}

#[test]
fn a_page_of_an_experiment_shows_everything_and_runs_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("exp");
    experiment(&root);
    let made = made(std::slice::from_ref(&root));
    let nodes = nodes(&made.html);
    assert_finite(&nodes);
    let texts = texts(&nodes);
    for heading in [
        "Systems",
        "Rewards against KL and step",
        "Trained reward against true utility",
        "How far clips differ",
        "What listeners preferred",
        "Measures and sound",
        "Reward models",
        "Recipes, versions, and how to run it again",
    ] {
        assert!(texts.contains(&heading), "{heading}");
    }
    // Escaped, word for word.
    assert!(texts.contains(&HOSTILE), "{texts:?}");
    assert!(!made.html.contains("<script") && !made.html.contains("src=\"http"));
    for element in ["link", "script", "img", "iframe"] {
        assert!(!nodes.contains(&Node::Element(element.into())), "{element}");
    }
    // Nobody takes them for people: at the top, above the ratings, the true utility, and in the figures.
    assert!(made.html.matches("class=\"badge\"").count() >= 4, "{}", made.html.matches("class=\"badge\"").count());
    assert!(!made.html.contains("badge human"));
    // The recipe's order, not that of the names; the later one first in the pair; its win rate is 1 - 1/3.
    assert!(texts.contains(&"au against r") && texts.contains(&"0.667 [0.567, 0.767]"), "{texts:?}");
    let place = |name: &str| texts.iter().position(|text| *text == name).unwrap();
    assert!(place("r") < place("au"));
    assert!(texts.contains(&"musicrl align au.toml --out runs/au-again --backend flex"), "{texts:?}");
    // The chosen checkpoints: step 10 of R and step 5 of RU by the watched utility.
    assert!(
        made.notes.iter().all(|note| note.contains("captions") || note.contains("another bundle")),
        "{:?}",
        made.notes
    );
}

#[test]
fn without_a_recipe_systems_stand_in_the_evaluations_order() {
    let temp = tempfile::tempdir().unwrap();
    experiment(temp.path());
    fs::remove_file(temp.path().join("experiment.toml")).unwrap();
    let nodes = nodes(&made(&[temp.path().into()]).html);
    let texts = texts(&nodes);
    let place = |name: &str| texts.iter().position(|text| *text == name).unwrap();
    assert!(place("r") < place("au"));
}

#[test]
fn figures_have_their_data_where_it_belongs() {
    let temp = tempfile::tempdir().unwrap();
    experiment(temp.path());
    let made = made(&[temp.path().into()]);
    let figure = |name: &str| &made.figures.iter().find(|(file, _)| file == name).unwrap().1;
    let by_step = figure("reward-text_adherence-by-step.svg");
    // RU begins at the step that R chose, 10, and R goes on to 20; the axis ends at 1.03 * 20.
    let x = |step: f64| format!("{}", ((58.0 + 328.0 * step / 20.6) * 100.0_f64).round() / 100.0);
    assert!(by_step.contains(&format!("<line class=\"rule\" x1=\"{}\"", x(10.0))), "{by_step}");
    for step in [0.0, 10.0, 15.0, 20.0] {
        assert!(by_step.contains(&format!("cx=\"{}\"", x(step))), "{step}: {by_step}");
    }
    assert!(by_step.contains("start of au"));
    let by_kl = figure("reward-text_adherence-by-kl.svg");
    // R's last point: KL 4 of 1.03 * 4; adherence 0.6 between 0.4 and 0.6 with a twentieth around.
    let y = |value: f64, top: f64| ((top + 220.0 * (1.0 - (value - 0.39) / 0.22)) * 100.0).round() / 100.0;
    let top = 34.0 + 16.0;
    let expected = format!("cx=\"{}\" cy=\"{}\"", ((58.0 + 328.0 / 1.03) * 100.0_f64).round() / 100.0, y(0.6, top));
    assert!(by_kl.contains(&expected), "{expected}: {by_kl}");
    assert_eq!(by_kl.matches("class=\"ring\"").count(), 2);
    assert_eq!(by_kl.matches("class=\"start\"").count(), 1);
    for (name, svg) in &made.figures {
        let nodes = parse(svg).unwrap();
        assert_finite(&nodes);
        assert!(
            nodes.contains(&Node::Element("title".into())) && nodes.contains(&Node::Element("desc".into())),
            "{name}"
        );
    }
    let utility = figure("true_utility_town-against-text-adherence.svg");
    assert!(utility.contains("chosen: step 10") && utility.contains("SIMULATED"), "{utility}");
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let temp = tempfile::tempdir().unwrap();
    experiment(temp.path());
    clips(&temp.path().join("systems/r"), 0, 2);
    clips(&temp.path().join("systems/r"), 10, 2);
    let runs = [temp.path().to_path_buf()];
    let first = made(&runs);
    assert_eq!(first, made(&runs));
    assert_eq!(first.clips, 4);
}

#[test]
fn what_is_missing_is_left_out_and_what_is_unfinished_is_said() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("lone");
    run(&dir, "embedded", 30, &R);
    fs::remove_dir_all(dir.join("bundle")).unwrap();
    let metrics = dir.join("stages/s/metrics.jsonl");
    let whole = fs::read_to_string(&metrics).unwrap();
    fs::write(&metrics, whole.clone() + "{\"step\":21,\"tr").unwrap();
    let made_one = made(std::slice::from_ref(&dir));
    let page = nodes(&made_one.html);
    let texts = texts(&page);
    assert!(texts.contains(&"UNFINISHED: step 20 of 30"), "{texts:?}");
    assert!(made_one.notes.iter().any(|note| note.contains("line 6 is cut off")), "{:?}", made_one.notes);
    for heading in ["What listeners preferred", "Measures and sound", "Reward models", "Clips"] {
        assert!(!texts.contains(&heading), "{heading}");
    }
    assert!(!made_one.html.contains("class=\"ring\""), "nothing is chosen yet");
    // A run that has not begun, and a folder of an experiment that is no run yet.
    fs::remove_file(&metrics).unwrap();
    let made_two = made(std::slice::from_ref(&dir));
    assert!(made_two.html.contains("NOT BEGUN") && made_two.html.contains("No reward has been measured yet."));
    fs::create_dir_all(temp.path().join("exp/systems/later")).unwrap();
    let made_three = made(&[temp.path().join("exp")]);
    assert!(made_three.notes[0].contains("later: not yet a run"), "{:?}", made_three.notes);
    fs::write(&metrics, "?\n?\n").unwrap();
    let error = report(&ReportInput { runs: vec![dir], evaluation: None }, &ReportSettings::default()).unwrap_err();
    assert!(error.to_string().contains("metrics.jsonl"), "{error}");
}

#[test]
fn clips_are_of_the_chosen_step_and_what_does_not_fit_is_said() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("r");
    run(&dir, "embedded", 20, &R);
    for step in [0, 10, 20] {
        clips(&dir, step, 3);
    }
    fs::write(dir.join("stages/s/samples/step-000010/02.wav"), b"no sound").unwrap();
    let input = ReportInput { runs: vec![dir.clone()], evaluation: None };
    let page = |settings: ReportSettings| report(&input, &settings).unwrap();
    let all = page(ReportSettings::default());
    assert_eq!((all.clips, all.html.matches("data:audio/ogg;base64,").count()), (5, 5));
    assert!(all.html.contains("r (step 10)") && all.html.contains("base (as r began)"), "{}", all.html);
    assert!(!all.html.contains("step 20)") && all.notes.iter().any(|note| note.contains("02.wav")), "{:?}", all.notes);
    let captions = nodes(&all.html);
    let known = crate::align::captions::Captions::load(
        &crate::recipe::CaptionsConfig { count: 20, held_out_fraction: 0.2, ..Default::default() },
        7,
    )
    .unwrap();
    assert!(texts(&captions).contains(&known.held_out[0].as_str()), "{:?}", known.held_out);
    let one = page(ReportSettings { prompts: 1, ..ReportSettings::default() });
    assert!(one.clips == 2 && one.html.contains("2 of 3 prompts are left out: the page holds at most 1 prompts."));
    let none = page(ReportSettings { audio_bytes: 100, ..ReportSettings::default() });
    assert!(none.clips == 0 && none.html.contains("3 of 3 prompts are left out"));
    let bad = ReportSettings { bitrate_bps: 1, ..ReportSettings::default() };
    assert!(report(&input, &bad).unwrap_err().to_string().contains("bitrate"));
}

#[test]
fn clips_of_an_evaluation_come_first_with_its_own_prompts() {
    let temp = tempfile::tempdir().unwrap();
    experiment(temp.path());
    clips(&temp.path().join("systems/r"), 10, 1);
    let place = temp.path().join("evaluation/export");
    fs::create_dir_all(place.join("clips")).unwrap();
    let from = temp.path().join("systems/r/stages/s/samples/step-000010/00.wav");
    fs::copy(from, place.join("clips/c00001.wav")).unwrap();
    let prompt = HOSTILE.replace('"', "\\\"");
    let key = |clip: &str| {
        format!(
            "{{\"format_version\":1,\"systems\":[{{\"name\":\"r\"}}],\"prompts\":[\"{prompt}\"],\
             \"clips\":[{{\"clip\":\"{clip}\",\"system\":0,\"prompt\":0,\"take\":0}}]}}"
        )
    };
    write(place.join("key.json"), &key("c00001"));
    let runs = [temp.path().to_path_buf()];
    let page = made(&runs);
    assert_eq!(page.clips, 1);
    assert!(page.html.contains("clips of the evaluation") && !page.html.contains("<script"));
    // A key cannot lead out of its folder.
    write(place.join("key.json"), &key("../../../../etc/passwd"));
    assert!(!made(&runs).html.contains("clips of the evaluation"));
}

#[test]
fn the_page_and_its_figures_are_written() {
    let temp = tempfile::tempdir().unwrap();
    experiment(&temp.path().join("exp"));
    let made = made(&[temp.path().join("exp")]);
    let out = temp.path().join("out/page.html");
    fs::create_dir_all(out.parent().unwrap()).unwrap();
    let folder = made.write(&out).unwrap();
    assert_eq!(fs::read_to_string(&out).unwrap(), made.html);
    assert_eq!(fs::read_dir(folder).unwrap().count(), made.figures.len());
    let nowhere = temp.path().join("exp/study.json/page.html");
    assert!(made.write(&nowhere).unwrap_err().to_string().contains("study.json"));
}
