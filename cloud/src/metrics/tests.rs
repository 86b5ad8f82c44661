use super::*;

/// The value of one line.
fn value(metrics: &Metrics, line: &str) -> Option<f64> {
    let text = metrics.text().unwrap();
    let found = text.lines().find_map(|seen| seen.strip_prefix(line)?.strip_prefix(' '))?;
    Some(found.parse().unwrap())
}

#[test]
fn what_is_held_is_counted_for_as_long_as_it_is_held() {
    let metrics = Metrics::new();
    assert_eq!(value(&metrics, "postern_hub_links"), Some(0.0));
    let (one, _other) = (metrics.link(), metrics.link());
    assert_eq!((value(&metrics, "postern_hub_links"), metrics.links()), (Some(2.0), 2));
    drop(one);
    assert_eq!((value(&metrics, "postern_hub_links"), metrics.links()), (Some(1.0), 1));
}

#[test]
fn what_is_noted_stands_under_its_words() {
    let metrics = Metrics::new();
    assert_eq!(value(&metrics, "postern_hub_handshakes_total{outcome=\"failed\"}"), Some(0.0));
    metrics.handshake("failed");
    metrics.request("meet", "refused");
    metrics.api(404);
    metrics.push(1000);
    metrics.answer("applied", Some(Duration::from_millis(40)));
    metrics.answer("refused", None);
    metrics.batch(TAKEN, 64);
    metrics.batch("fork", 64);
    metrics.alarm("copy");
    metrics.publication("renewed");
    metrics.store("note", Duration::from_millis(2), Duration::from_millis(7));
    for (line, expected) in [
        ("postern_hub_handshakes_total{outcome=\"failed\"}", 1.0),
        ("postern_hub_handshakes_total{outcome=\"done\"}", 0.0),
        ("postern_hub_requests_total{kind=\"meet\",outcome=\"refused\"}", 1.0),
        ("postern_api_requests_total{status=\"4xx\"}", 1.0),
        ("postern_hub_pushes_total", 1.0),
        ("postern_hub_push_bytes_total", 1000.0),
        ("postern_hub_push_answers_total{answer=\"applied\"}", 1.0),
        ("postern_hub_push_answers_total{answer=\"refused\"}", 1.0),
        ("postern_hub_push_answer_seconds_count", 1.0),
        ("postern_hub_push_answer_seconds_bucket{le=\"0.025\"}", 0.0),
        ("postern_hub_push_answer_seconds_bucket{le=\"0.05\"}", 1.0),
        ("postern_hub_audit_rows_total", 64.0),
        ("postern_hub_audit_batches_total{outcome=\"fork\"}", 1.0),
        ("postern_hub_alarms_total{kind=\"copy\"}", 1.0),
        ("postern_hub_publications_total{cause=\"renewed\"}", 1.0),
        ("postern_store_seconds_count{access=\"note\",part=\"wait\"}", 1.0),
        ("postern_store_seconds_bucket{access=\"note\",part=\"work\",le=\"0.005\"}", 0.0),
        ("postern_store_seconds_bucket{access=\"note\",part=\"work\",le=\"0.01\"}", 1.0),
    ] {
        assert_eq!(value(&metrics, line), Some(expected), "{line}");
    }
}

#[test]
fn a_relay_is_asked_whenever_somebody_reads_and_says_nothing_of_a_hub() {
    let metrics = Metrics::of_relay();
    assert_eq!(value(&metrics, "postern_relay_packets_total{outcome=\"passed\"}"), None);
    metrics.relayed_by(|| Relayed { passed: 7, meetings: 2, ..Relayed::default() });
    assert_eq!(value(&metrics, "postern_relay_packets_total{outcome=\"passed\"}"), Some(7.0));
    assert_eq!(value(&metrics, "postern_relay_meetings"), Some(2.0));
    assert_eq!(value(&metrics, "postern_relay_bytes_total"), Some(0.0));
    assert_eq!(value(&metrics, "postern_hub_links"), None);
    assert!(value(&metrics, "process_resident_memory_bytes").unwrap() > 0.0);
    let build = format!("postern_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(value(&metrics, &build), Some(1.0));
}
