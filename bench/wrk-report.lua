-- Prints one line of JSON with what the benchmark needs, instead of reading wrk's table.
done = function(summary, latency)
  io.write(string.format(
    'REPORT {"requests":%d,"seconds":%.3f,"p50us":%.1f,"p99us":%.1f,"p999us":%.1f,"errors":%d}\n',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.status + summary.errors.timeout))
end
