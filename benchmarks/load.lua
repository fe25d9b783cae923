-- wrk -s load.lua URL -- METHOD SIZE PREFIX: reads 100 blobs in turn, or writes names nobody used.
local method, size, prefix, count = "GET", 0, "", 0
local body

function init(args)
    method, size, prefix = args[1], tonumber(args[2]), args[3]
    if method ~= "GET" then body = string.rep("x", size) end
end

function request()
    count = count + 1
    if method == "GET" then
        return wrk.format("GET", "/store/kept-" .. size .. "-" .. count % 100)
    end
    return wrk.format(method, "/store/" .. prefix .. count, nil, body)
end

function done(summary, latency, requests)
    local e = summary.errors
    io.write(string.format("RESULT %d %d %d %d %d\n", summary.requests, summary.duration,
        latency:percentile(50), latency:percentile(99),
        e.connect + e.read + e.write + e.status + e.timeout))
end
