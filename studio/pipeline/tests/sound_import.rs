//! A folder as people have them: good recordings of several kinds among broken files.

use std::{fs, ops::ControlFlow, path::Path};

use musicrl_codec::{
    audio::Audio,
    loudness,
    write::{write_opus, write_wav, write_wav_float},
};
use musicrl_pipeline::{
    Error,
    corpus::{
        Corpus, Split,
        import::{ImportReport, ImportSettings, SET_ASIDE_FILE, SetAside, import},
    },
};

fn tone(hz: f32, seconds: f32, rate_hz: u32) -> Vec<f32> {
    let step = std::f32::consts::TAU * hz / rate_hz as f32;
    (0..(seconds * rate_hz as f32) as usize).map(|i| 0.2 * (step * i as f32).sin()).collect()
}

/// A WAV file with any header and any samples.
fn raw_wav(rate_hz: u32, float: bool, samples: &[[u8; 4]]) -> Vec<u8> {
    let data = samples.concat();
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + data.len() as u32).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0");
    bytes.extend(if float { 3_u16 } else { 1 }.to_le_bytes());
    bytes.extend(1_u16.to_le_bytes());
    bytes.extend(rate_hz.to_le_bytes());
    bytes.extend(rate_hz.wrapping_mul(4).to_le_bytes());
    bytes.extend([4, 0, 32, 0]);
    bytes.extend(b"data");
    bytes.extend((data.len() as u32).to_le_bytes());
    bytes.extend(data);
    bytes
}

/// Silent frames of MPEG-1 layer III, 128 kbit/s, 44.1 kHz, mono: a header, then zeros.
fn mp3(frames: usize) -> Vec<u8> {
    let mut frame = vec![0xff, 0xfb, 0x90, 0xc0];
    frame.resize(417, 0);
    frame.repeat(frames)
}

fn good_files(folder: &Path) {
    fs::create_dir_all(folder.join("disc 1")).unwrap();
    let stereo = Audio { channels: vec![tone(220.0, 3.5, 22_050), tone(330.0, 3.5, 22_050)], sample_rate_hz: 22_050 };
    write_wav(&folder.join("disc 1/01 - Slow_March.wav"), &stereo).unwrap();
    write_wav_float(&folder.join("b.wav"), &Audio::from_mono(tone(440.0, 2.0, 48_000), 48_000)).unwrap();
    write_opus(&folder.join("c.opus"), &Audio::from_mono(tone(550.0, 2.25, 48_000), 48_000), 64_000).unwrap();
    fs::write(folder.join("cover.jpg"), "not sound").unwrap();
}

fn bad_files(folder: &Path) {
    let whole = mp3(80);
    fs::write(folder.join("bad-cut.mp3"), &whole[..whole.len() * 2 / 3]).unwrap();
    fs::write(folder.join("bad-empty.wav"), "").unwrap();
    fs::write(folder.join("bad-text.ogg"), "Dear diary, this is no music at all.\n".repeat(40)).unwrap();
    fs::write(folder.join("bad-1hz.wav"), raw_wav(1, false, &[[0, 0, 0, 9]; 500])).unwrap();
    fs::write(folder.join("bad-768khz.wav"), raw_wav(768_000, false, &[[0, 0, 0, 9]; 500])).unwrap();
    let mut samples = vec![0.1_f32.to_le_bytes(); 48_000];
    samples[777] = f32::NAN.to_le_bytes();
    fs::write(folder.join("bad-nan.wav"), raw_wav(24_000, true, &samples)).unwrap();
    fs::write(folder.join("bad-silent.mp3"), whole).unwrap();
    fs::write(folder.join("bad-header.wav"), &raw_wav(24_000, true, &samples)[..40]).unwrap();
    fs::write(folder.join("bad-cut.wav"), &raw_wav(24_000, false, &samples)[..50_000]).unwrap();
}

fn settings() -> ImportSettings {
    ImportSettings { sample_rate_hz: 16_000, heldout_share: 0.3, seed: 5, ..ImportSettings::default() }
}

fn run(source: &Path, target: &Path, settings: &ImportSettings) -> Result<ImportReport, Error> {
    import(source, target, settings, |_| ControlFlow::Continue(()))
}

/// Every file of a folder with its bytes, by name.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| {
            if path.is_dir() { contents(&path) } else { vec![(path.display().to_string(), fs::read(&path).unwrap())] }
        })
        .map(|(name, bytes)| (name.rsplit('/').next().unwrap_or_default().to_owned(), bytes))
        .collect();
    files.sort();
    files
}

#[test]
fn broken_files_are_named_and_set_aside_and_the_import_goes_on() {
    let temp = tempfile::tempdir().unwrap();
    let (source, target) = (temp.path().join("songs"), temp.path().join("corpus"));
    good_files(&source);
    bad_files(&source);
    let mut seen = Vec::new();
    let report = import(&source, &target, &settings(), |progress| {
        seen.push((progress.done, progress.file.to_owned(), progress.outcome.is_ok()));
        assert_eq!(progress.total, 12);
        ControlFlow::Continue(())
    })
    .unwrap();

    let reasons: Vec<(&str, &str)> = report.set_aside.iter().map(|s| (s.path.as_str(), s.reason.as_str())).collect();
    let expected = [
        ("bad-1hz.wav", "4000 to 384000 Hz, got 1 Hz"),
        ("bad-768khz.wav", "got 768000 Hz"),
        ("bad-cut.mp3", "truncated: the last MPEG frame lacks"),
        ("bad-cut.wav", "truncated"),
        ("bad-empty.wav", "the file has no bytes"),
        ("bad-header.wav", "expected an audio file"),
        ("bad-nan.wav", "not finite at channel 0, sample 777"),
        ("bad-silent.mp3", "silent"),
        ("bad-text.ogg", "expected an audio file"),
    ];
    assert_eq!(reasons.len(), expected.len(), "{reasons:#?}");
    for ((path, reason), (expected_path, part)) in reasons.iter().zip(expected) {
        assert_eq!(*path, expected_path);
        assert!(reason.contains(part), "{path}: {reason}");
    }
    assert_eq!((report.recordings, report.clips, report.ignored), (3, 3, 1));
    assert_eq!((report.train_tracks, report.heldout_tracks), (2, 1));
    assert!(report.to_string().contains("9 files set aside"), "{report}");
    assert_eq!(seen.iter().map(|(done, ..)| *done).collect::<Vec<_>>(), (1..=12).collect::<Vec<_>>());
    assert_eq!(seen.iter().filter(|(_, _, ok)| *ok).count(), 3);

    let lines = fs::read_to_string(target.join(SET_ASIDE_FILE)).unwrap();
    let listed: Vec<SetAside> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(listed, report.set_aside);

    let corpus = Corpus::open(&target).unwrap();
    let march = corpus.clips().iter().position(|clip| clip.file.contains("march")).unwrap();
    let clip = &corpus.clips()[march];
    assert_eq!(clip.captions.len(), 1);
    assert!(clip.captions[0].ends_with("music: slow march"), "{:?}", clip.captions);
    assert!(clip.captions[0].contains(&clip.attributes["brightness"]), "{:?}", clip);
    assert_eq!(clip.seconds, 3.5);
    assert_eq!(clip.track, "disc 1/01 - Slow_March.wav");
    assert_eq!(clip.attributes["source_rate_hz"], "22050");
    for clip in 0..3 {
        let loudness = loudness::measure(&corpus.audio(clip).unwrap(), 16_000).unwrap().integrated_lufs.unwrap();
        assert!((loudness + 20.0).abs() < 0.2, "{loudness}");
    }
}

#[test]
fn the_same_bytes_for_any_number_of_threads() {
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("songs");
    good_files(&source);
    bad_files(&source);
    let mut folders = Vec::new();
    for threads in [1, 2, 5] {
        let target = temp.path().join(format!("corpus{threads}"));
        run(&source, &target, &ImportSettings { threads, ..settings() }).unwrap();
        folders.push(contents(&target));
    }
    assert_eq!(folders[0].len(), 6);
    assert!(folders[0] == folders[1] && folders[1] == folders[2]);
}

#[test]
fn segments_are_whole_ordered_and_in_the_split_of_their_track() {
    let temp = tempfile::tempdir().unwrap();
    let (source, target) = (temp.path().join("songs"), temp.path().join("corpus"));
    good_files(&source);
    let mut gap = tone(300.0, 4.0, 16_000);
    gap[16_000..32_000].fill(0.0);
    write_wav(&source.join("gap.wav"), &Audio::from_mono(gap, 16_000)).unwrap();
    let cut = ImportSettings { segment_seconds: Some(1.0), shortest_seconds: 0.4, ..settings() };
    let report = run(&source, &target, &cut).unwrap();
    // 3.5 s: 3 and a rest of 0.5; 2.0 s: 2; 2.25 s: 2, the rest is too short; 4 s: 4 less a silent one.
    assert_eq!((report.clips, report.silent_segments), (4 + 2 + 2 + 3, 1));
    let starts = |track: &str| -> Vec<String> {
        let of_track = report.corpus.clips().iter().filter(|clip| clip.track == track);
        of_track.map(|clip| clip.attributes["start_seconds"].clone()).collect()
    };
    assert_eq!(starts("gap.wav"), ["0", "2", "3"]);
    assert_eq!(starts("disc 1/01 - Slow_March.wav"), ["0", "1", "2", "3"]);
    let lengths: Vec<f64> = report.corpus.clips().iter().map(|clip| clip.seconds).collect();
    assert!(lengths.iter().all(|&seconds| seconds == 1.0 || (seconds - 0.5).abs() < 1e-9), "{lengths:?}");
}

#[test]
fn captions_tracks_and_splits_of_a_file_are_used() {
    let temp = tempfile::tempdir().unwrap();
    let (source, target) = (temp.path().join("songs"), temp.path().join("corpus"));
    good_files(&source);
    let csv = "file,caption,track,split,tempo\n\
        b.wav,a high tone,one,heldout,none\n\
        b.wav,a whistle,,,\n\
        c.opus,,one,,\n\
        lost.wav,never recorded,,,\n\
        cover.jpg,a picture,,,\n";
    fs::write(source.join("captions.csv"), csv).unwrap();
    let report = run(&source, &target, &ImportSettings { measured_words: false, ..settings() }).unwrap();
    let clip = |id: &str| report.corpus.clips().iter().find(|clip| clip.id == id).unwrap();
    assert_eq!(clip("b").captions, ["a high tone", "a whistle"]);
    assert_eq!(clip("b").attributes["tempo"], "none");
    assert_eq!((clip("b").split, clip("c").split), (Split::HeldOut, Split::HeldOut), "one track, one split");
    assert_eq!(clip("disc-1-01-slow-march").split, Split::Train);
    assert_eq!(clip("disc-1-01-slow-march").captions, ["slow march"]);
    assert_eq!((report.captions.file, report.captions.tags, report.captions.name), (1, 0, 2));
    let aside: Vec<&str> = report.set_aside.iter().map(|aside| aside.path.as_str()).collect();
    assert_eq!(aside, ["cover.jpg", "lost.wav"]);

    fs::write(source.join("captions.csv"), "file,caption\nb.wav\n").unwrap();
    let message = run(&source, &temp.path().join("other"), &settings()).unwrap_err().to_string();
    assert!(message.contains("captions.csv") && message.contains("line 2"), "{message}");
}

#[test]
fn an_occupied_target_is_kept_unless_told_and_then_only_a_corpus_goes() {
    let temp = tempfile::tempdir().unwrap();
    let (source, target) = (temp.path().join("songs"), temp.path().join("corpus"));
    good_files(&source);
    run(&source, &target, &settings()).unwrap();
    let before = contents(&target);
    assert!(run(&source, &target, &settings()).is_err());
    assert!(contents(&target) == before);

    let replace = ImportSettings { replace: true, sample_rate_hz: 8_000, ..settings() };
    let stopped = import(&source, &target, &replace, |_| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(Error::Interrupted)));
    assert!(contents(&target) == before, "stopped in the middle");
    assert_eq!(run(&source, &target, &replace).unwrap().corpus.sample_rate_hz(), 8_000);

    let mine = temp.path().join("mine");
    fs::create_dir(&mine).unwrap();
    fs::write(mine.join("diary.txt"), "precious").unwrap();
    assert!(run(&source, &mine, &replace).is_err());
    assert_eq!(fs::read_to_string(mine.join("diary.txt")).unwrap(), "precious");
    let mut names: Vec<_> = fs::read_dir(temp.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["corpus", "mine", "songs"]);
}

#[test]
fn a_folder_without_a_usable_recording_is_an_error_that_says_why() {
    let temp = tempfile::tempdir().unwrap();
    let (source, target) = (temp.path().join("songs"), temp.path().join("corpus"));
    let message = run(&source, &target, &settings()).unwrap_err().to_string();
    assert!(message.contains("songs") && message.contains("nothing"), "{message}");
    fs::create_dir(&source).unwrap();
    assert!(run(&source, &target, &settings()).unwrap_err().to_string().contains("no audio file"));
    bad_files(&source);
    let message = run(&source, &target, &settings()).unwrap_err().to_string();
    assert!(message.contains("9 files were set aside") && message.contains("bad-1hz.wav"), "{message}");
    assert!(!target.exists());
}
