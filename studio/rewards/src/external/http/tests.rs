//! Against a server of one thread on this machine.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::mpsc::{Receiver, channel},
    time::Instant,
};

use musicrl_core::reward::{AudioView, TokensView};

use super::*;

/// Reads a request and gives its body.
fn body_of(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    String::from_utf8(body).unwrap()
}

/// A server that gives its answers in turn, one a connection: a status line's end and a body. The URL, and the bodies
/// that came.
fn server(answers: Vec<(&'static str, String)>) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/judge", listener.local_addr().unwrap());
    let (sender, bodies) = channel();
    thread::spawn(move || {
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = sender.send(body_of(&stream));
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
            // A client that has heard enough hangs up.
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
        }
    });
    (url, bodies)
}

fn judge(url: &str, settings: &str) -> HttpJudge {
    HttpJudge::new("mine", serde_json::from_str(&format!(r#"{{"url": "{url}"{settings}}}"#)).unwrap()).unwrap()
}

fn clip(caption: &str) -> Clip<'_> {
    let audio = Some(AudioView { samples: &[0.25, -0.25], sample_rate_hz: 16_000 });
    Clip { caption, tokens: TokensView { ids: &[7], slots: 1 }, audio }
}

fn failure(judge: &HttpJudge, clips: &[Clip<'_>]) -> String {
    judge.score(clips).unwrap_err().to_string()
}

const TWO: &str = r#"{"answers": [{"id": 1, "unscorable": "noise"}, {"id": 0, "score": 0.5}]}"#;

#[test]
fn a_batch_goes_there_and_its_scores_come_back() {
    let later = TWO.replace("\"id\": 1", "\"id\": 3").replace("\"id\": 0", "\"id\": 2");
    let (url, bodies) = server(vec![("200 OK", TWO.into()), ("200 OK", later)]);
    let judge = judge(&url, r#", "tokens": true"#);
    assert!(judge.hears_audio() && judge.name() == "mine");
    for _ in 0..2 {
        let silent = Clip { audio: None, ..clip("c") };
        let scores = judge.score(&[clip("a"), silent, clip("b")]).unwrap();
        let reasons = ["no audio", "noise"].map(|reason| Score::Unscorable(reason.into()));
        assert_eq!(scores, [Score::Value(0.5), reasons[0].clone(), reasons[1].clone()]);
    }
    let body: Value = serde_json::from_str(&bodies.recv().unwrap()).unwrap();
    let first = &body["clips"][0];
    assert_eq!(body["clips"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&first["caption"], &first["tokens"], &first["sample_rate_hz"]),
        (&"a".into(), &[7].into(), &16_000.into())
    );
    let wav = BASE64.decode(first["audio_base64"].as_str().unwrap()).unwrap();
    assert_eq!((wav.len(), &wav[..4]), (48, &b"RIFF"[..]));
    // Nothing to ask: no connection.
    assert!(judge.score(&[]).unwrap().is_empty());
}

#[test]
fn sound_goes_as_a_path_or_not_at_all() {
    let one = r#"{"answers": [{"id": 0, "score": 1}]}"#;
    let (url, bodies) = server(vec![("200 OK", one.into()), ("200 OK", one.into())]);
    judge(&url, r#", "audio": "path""#).score(&[clip("a")]).unwrap();
    let body: Value = serde_json::from_str(&bodies.recv().unwrap()).unwrap();
    let path = std::path::Path::new(body["clips"][0]["audio"].as_str().unwrap()).to_path_buf();
    assert!(path.extension().is_some_and(|extension| extension == "wav") && !path.exists());
    let deaf = judge(&url, r#", "audio": "none""#);
    assert!(!deaf.hears_audio());
    deaf.score(&[Clip { audio: None, ..clip("a") }]).unwrap();
    assert_eq!(bodies.recv().unwrap(), r#"{"clips":[{"id":0,"caption":"a","remaining":0}]}"#);
}

#[test]
fn passing_trouble_is_tried_again_and_lasting_trouble_is_not() {
    let bad = ("503 Service Unavailable", "starting".to_string());
    let (url, bodies) = server(vec![bad.clone(), ("200 OK", TWO.into())]);
    assert_eq!(judge(&url, r#", "retries": 1"#).score(&[clip("a"), clip("b")]).unwrap().len(), 2);
    assert_eq!(bodies.recv().unwrap(), bodies.recv().unwrap(), "the same question");

    let (url, _bodies) = server(vec![bad.clone(), bad]);
    let error = failure(&judge(&url, r#", "retries": 1"#), &[clip("a")]);
    for expected in ["`mine`", "503", "starting", "2 times", &url] {
        assert!(error.contains(expected), "{expected} not in {error}");
    }
    let (url, _bodies) = server(vec![("404 Not Found", "no judge here".into())]);
    let error = failure(&judge(&url, ""), &[clip("a")]);
    assert!(error.contains("404") && error.contains("no judge here"), "{error}");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let error = failure(&judge(&url, r#", "retries": 1"#), &[clip("a")]);
    assert!(error.contains("no connection") && error.contains("2 times"), "{error}");
}

#[test]
fn a_service_that_hangs_does_not_hold_us_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let start = Instant::now();
    let error = failure(&judge(&url, r#", "timeout_seconds": 0.3"#), &[clip("a")]);
    assert!(error.contains("more than 0.3 s"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[test]
fn answers_that_break_the_protocol_are_told() {
    for (answer, expected) in [
        ("<html>".to_string(), "no JSON"),
        ("[]".into(), "no list `answers`"),
        (r#"{"answers": {}}"#.into(), "no list `answers`"),
        (r#"{"answers": [{"id": 0, "score": 1}]}"#.into(), "1 of 2 clips have no answer"),
        (r#"{"answers": [{"id": 0, "score": 1}, {"id": 0, "score": 1}]}"#.into(), "answered twice"),
        (" ".repeat((ANSWER_MAX + 1) as usize), "longer than"),
    ] {
        let (url, _bodies) = server(vec![("200 OK", answer)]);
        let error = failure(&judge(&url, ""), &[clip("a"), clip("b")]);
        assert!(error.contains(expected) && error.len() < 1_000, "{error}");
    }
}
