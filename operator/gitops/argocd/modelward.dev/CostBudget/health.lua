-- What Argo CD shows of a CostBudget: whether it is in force. A budget that is spent is as healthy as one that is not.
local hs = {status = "Progressing", message = "waiting for the operator"}

if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return hs
end

local conditions = {}
for _, condition in ipairs(obj.status.conditions or {}) do
  conditions[condition.type] = condition
end

local evaluated = conditions["Evaluated"]
if evaluated ~= nil then
  hs.message = evaluated.reason .. ": " .. evaluated.message
  if evaluated.status == "False" then
    hs.status = "Degraded"
  elseif evaluated.status == "True" then
    hs.status = "Healthy"
    local within = conditions["WithinBudget"]
    if within ~= nil then
      hs.message = within.reason .. ": " .. within.message
    end
  end
end
return hs
