-- A webhook ends with the token of who made it; 0 is who needs none. Those from before
-- have a name only, which a tenant's principal and one of every tenant may share.
ALTER TABLE webhook ADD COLUMN principal INTEGER NOT NULL DEFAULT 0;
UPDATE webhook SET principal = coalesce(
    (SELECT s.principal FROM subscription s WHERE s.webhook = webhook.id),
    (SELECT p.id FROM principal p
        WHERE p.name = webhook.created_by AND p.tenant IN (webhook.tenant, '')
        ORDER BY p.tenant DESC LIMIT 1),
    0
);
