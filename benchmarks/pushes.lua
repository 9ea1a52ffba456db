-- wrk's part: builds pushes with unique ids, and prints what it saw as one line of JSON.
-- Arguments: kind, first id, pause in ms before each request.

local kind, count, pause

function init(args)
   kind, count, pause = args[1], tonumber(args[2]), tonumber(args[3])
   math.randomseed(count)
end

local inbound = '{"api_token":"944a73412bed1240b5a2afa381a928a6","timestamp":"20180217065028",' ..
   '"mobile":"2547%08d","message":"Test inbox","shortcode":"70700","inbox_id":"%d",' ..
   '"service_id":"32","network_name":"Safaricom","link_id":"763723672367236526261"}'
local callback = '{"event":"message.delivered","message_id":"msg_%d","to":"+2547%08d",' ..
   '"status":"delivered","timestamp":"2026-04-28T09:14:00Z"}'
local headers = { ["Content-Type"] = "application/json" }

function request()
   count = count + 1
   -- A million people, in no order; those of one turn are not those of the next.
   local person = (count * 7919 + math.floor(count / 1000000) * 104729) % 1000000
   if kind == "inbound" then
      return wrk.format("POST", "/hooks/tilil", headers, string.format(inbound, person, count))
   end
   return wrk.format("POST", "/hooks/tsconect/cb-7f3a9d", headers,
      string.format(callback, count, person))
end

function delay()
   if pause > 0 then return math.random() * 2 * pause end
   return 0
end

function done(summary, latency, requests)
   local e = summary.errors
   io.write(string.format(
      '{"requests":%d,"duration":%d,"failures":%d,"p50":%d,"p99":%d,"max":%d}\n',
      summary.requests, summary.duration, e.connect + e.read + e.write + e.status + e.timeout,
      latency:percentile(50), latency:percentile(99), latency.max))
end
