//! Texts through a checkpoint's own tokeniser.

use std::{fs, path::PathBuf};

use burn::tensor::Device;
use musicrl_zoo::{Model, bert::Bert, open};
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn bert(name: &str) -> Bert {
    match open(&fixture(name), &Device::flex()).unwrap() {
        Model::Bert(bert) => *bert,
        other => panic!("{:?}", other.architecture()),
    }
}

#[test]
fn texts_become_the_ids_of_the_reference_tokeniser() {
    let bert = bert("bert_minilm");
    let cases: Value = serde_json::from_slice(&fs::read(fixture("bert_minilm").join("texts.json")).unwrap()).unwrap();
    let texts: Vec<&str> = cases["texts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    let rows: Vec<Vec<u32>> = serde_json::from_value(cases["ids"].clone()).unwrap();
    let (ids, mask, [count, tokens]) = bert.tokenise(&texts).unwrap();
    // The longest is cut to what `sentence_bert_config.json` says, not to what `tokenizer.json` does.
    assert_eq!([count, tokens], [rows.len(), 12]);
    for (i, row) in rows.iter().enumerate() {
        let at = i * tokens..(i + 1) * tokens;
        let padded: Vec<u32> = row.iter().copied().chain(std::iter::repeat(0)).take(tokens).collect();
        assert_eq!(ids[at.clone()], padded);
        assert_eq!(mask[at], (0..tokens).map(|t| t < row.len()).collect::<Vec<_>>());
    }
}

#[test]
fn an_embedding_does_not_depend_on_the_other_texts() {
    let bert = bert("bert_minilm");
    let values = |texts: &[&str]| bert.embed(texts).unwrap().into_data().try_to_vec::<f32>().unwrap();
    let together = values(&["a calm song", "the guitar played loud music , and the drums", ""]);
    let alone = values(&["a calm song"]);
    let width = bert.width();
    for (a, b) in alone.iter().zip(&together) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
    for row in together.chunks(width) {
        assert!((row.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
    }
    assert!(together[..width].iter().zip(&together[width..]).any(|(a, b)| (a - b).abs() > 0.01));
}

#[test]
fn what_cannot_be_is_an_error() {
    let without = bert("bert_half");
    assert!(without.tokenise(&["x"]).unwrap_err().to_string().contains("tokenizer.json"));
    let bert = bert("bert_minilm");
    for (ids, mask, dims, part) in [
        (vec![5; 21], vec![true; 21], [1, 21], "at most 20"),
        (vec![5; 3], vec![true; 2], [1, 3], "2 of the mask"),
        (vec![5; 3], vec![true; 3], [1, 2], "3 ids"),
        (vec![], vec![], [1, 0], "not empty"),
        (vec![], vec![], [0, 3], "not empty"),
        (vec![5; 3], vec![true; 3], [usize::MAX, 3], "3 ids"),
        (vec![5, 1_000], vec![true; 2], [1, 2], "1000"),
        (vec![5; 4], vec![true, true, false, false], [2, 2], "text 1"),
    ] {
        let error = bert.sentence_embeddings(&ids, &mask, dims).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    assert!(bert.embed(&[]).is_err());
}
