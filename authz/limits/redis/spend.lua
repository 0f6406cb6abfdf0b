-- Spends for a batch of checks: each all or nothing by itself, in order.
--
-- KEYS      every bucket of the batch, once. A value is 16 bytes: debt (tokens), time (microseconds of this
--           server), two little-endian doubles. No value: a full bucket.
-- ARGV[1]   little-endian doubles, one after the other:
--             number of floors; for each: index of its key from 1, debt (tokens) that it has at least
--             then for each entry, to the end: how many checks ask for the same; number of buckets; and for
--             each bucket: index of its key, rate (tokens/s), burst (tokens), cost (tokens)
-- Returns   integers, for each entry: how many of its checks passed, -1 where a bucket cannot be read; and
--           for each bucket: its debt now, in 2^-20 tokens, rounded up; -1 for one that cannot be read.
--
-- Arithmetic: authz/limits/bucket.py, the same operations in the same order.

local QUANTA = 1048576

local unpacked, packed, ceil = struct.unpack, struct.pack, math.ceil
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local debts, stamps, rates, changed = {}, {}, {}, {}

for index, key in ipairs(KEYS) do
  local value = redis.pcall('GET', key)
  if not value then
    debts[index], stamps[index] = 0, now
  elseif type(value) == 'string' and #value == 16 then
    local debt, stamp = unpacked('<dd', value)
    if debt >= 0 and debt < math.huge and stamp >= 0 and stamp < math.huge then
      debts[index], stamps[index] = debt, stamp
      changed[index] = stamp > now  -- this server's clock went back: refill nothing, but go on from here
    end
  end
end

-- What is left of a debt by now. Asked again within one call it changes nothing.
local function settle(index, rate)
  local debt, elapsed = debts[index], now - stamps[index]
  stamps[index], rates[index] = now, rate
  if debt > 0 and elapsed > 0 then
    local left = debt - elapsed * rate / 1000000
    debts[index] = left > 0 and ceil(left * QUANTA) / QUANTA or 0
  end
end

local input, at = ARGV[1], 1
local floors = {}
local count
count, at = unpacked('<d', input, at)
for _ = 1, count do
  local index, debt
  index, debt, at = unpacked('<dd', input, at)
  floors[index] = debt
end

local reply = {}
while at <= #input do
  local times, buckets
  times, buckets, at = unpacked('<dd', input, at)
  local entry, readable = {}, true
  for number = 1, buckets do
    local index, rate, burst, cost
    index, rate, burst, cost, at = unpacked('<dddd', input, at)
    entry[number] = {index, burst, cost}
    if debts[index] then
      settle(index, rate)
      local floor = floors[index]
      if floor and floor > debts[index] then
        debts[index], changed[index] = floor, true
      end
    else
      readable = false
    end
  end

  local passed = readable and 0 or -1
  while readable and passed < times do
    for number = 1, buckets do
      local bucket = entry[number]
      if debts[bucket[1]] + bucket[3] > bucket[2] then readable = false end
    end
    if readable then
      for number = 1, buckets do
        local bucket = entry[number]
        debts[bucket[1]], changed[bucket[1]] = debts[bucket[1]] + bucket[3], true
      end
      passed = passed + 1
    end
  end

  reply[#reply + 1] = passed
  for number = 1, buckets do
    local debt = debts[entry[number][1]]
    reply[#reply + 1] = debt and ceil(debt * QUANTA) or -1
  end
end

-- It lives as long as it is not full, rounded up: a bucket forgotten early would be full early.
for index, was in pairs(changed) do
  if was and debts[index] > 0 then
    local life = ceil(debts[index] * 1000 / rates[index]) + 1
    redis.call('SET', KEYS[index], packed('<dd', debts[index], now), 'PX', string.format('%.0f', life))
  end
end

return reply
