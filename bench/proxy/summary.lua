-- What the load does besides GETs in a closed loop, and wrk's own figures, exact, as one line of JSON.
local post = tonumber(os.getenv("BENCH_POST_BYTES") or "0")
if post > 0 then
  wrk.method = "POST"
  wrk.body = string.rep("x", post)
end

-- Each connection rests between its requests, for a time at random with that mean: a rate that is fixed below saturation.
local rest_ms = tonumber(os.getenv("BENCH_REST_MS") or "0")
if rest_ms > 0 then
  function delay()
    return math.random(0, 2 * rest_ms)
  end
end

-- Runs once, after the load: nothing here is in the way of a request.
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '{"requests": %d, "bytes": %d, "duration_us": %d, "connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d, "p50_us": %d, "p99_us": %d}\n',
    summary.requests, summary.bytes, summary.duration, e.connect, e.read, e.write, e.status, e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
