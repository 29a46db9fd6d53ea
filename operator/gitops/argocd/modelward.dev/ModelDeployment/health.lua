-- What Argo CD shows of a ModelDeployment. Argo CD runs this by Lua 5.1 without the string library: comparisons only.
local hs = {status = "Progressing", message = "waiting for the operator"}

-- A status of an older generation says nothing of what was applied.
if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return hs
end

for _, condition in ipairs(obj.status.conditions or {}) do
  if condition.type == "Ready" then
    hs.message = condition.reason .. ": " .. condition.message
    if condition.status == "True" then
      hs.status = "Healthy"
    elseif condition.reason == "Suspended" then
      hs.status = "Suspended"
    elseif condition.status == "False" then
      hs.status = "Degraded"
    end
  end
end
return hs
