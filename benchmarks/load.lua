-- wrk -s load.lua URL -- METHOD SIZE PREFIX COUNT
-- GET reads the COUNT blobs PREFIX0, PREFIX1..., scattered; PUT and POST write names nobody used.
local method, prefix, count, number = "GET", "", 1, 0
local body

function init(args)
    method, prefix, count = args[1], args[3], tonumber(args[4])
    if method ~= "GET" then body = string.rep("x", tonumber(args[2])) end
end

function request()
    number = number + 1
    if method == "GET" then
        -- A prime that divides no count in use: all of them in turn, neighbours far apart.
        return wrk.format("GET", "/store/" .. prefix .. number * 7919 % count)
    end
    return wrk.format(method, "/store/" .. prefix .. number, nil, body)
end

function done(summary, latency, requests)
    local e = summary.errors
    io.write(string.format("RESULT %d %d %d %d %d\n", summary.requests, summary.duration,
        latency:percentile(50), latency:percentile(99),
        e.connect + e.read + e.write + e.status + e.timeout))
end
