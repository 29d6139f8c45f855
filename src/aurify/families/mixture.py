"""Mixtures of Gaussians: diagonal, of low rank or full, learned by expectation maximisation in small steps.

    B batch, D numbers of a sample, K components, Q rank, z ~ N(0, 1) in Q dimensions, z1 = (z, 1), A_k = (W_k, mu_k)

    p(x) = sum_k share_k N(x; mu_k, W_k W_k' + diag(psi_k))        x = A_k z1 + sqrt(psi_k) e given k and z

Rank 0 is a diagonal Gaussian; isotropic noise makes each component probabilistic PCA (Tipping & Bishop 1999), diagonal
noise a factor analyser (Ghahramani & Hinton 1996); rank D is a full covariance.

What is kept are expected statistics, the mean parameters of the complete data (k, z, x), each per sample:

    xz_k = E[r_k x z1']    zz_k = E[r_k z1 z1']    xx_k = E[r_k x^2]        r_k = p(k|x), z given k and x

    M-step    A_k = xz_k zz_k^-1    psi_k = (xx_k - rowsum(A_k * xz_k)) / share_k    share_k = E[r_k], zz_k's last entry

They are this family's parameters, with the gradient s - E[statistics of the batch | theta(s)]: the natural gradient of
the negative likelihood (Sato & Ishii 2000). A step of plain descent at rate g is s <- (1 - g) s + g E[...], one of
stepwise EM (Cappe & Moulines 2009); rate 1 on all data at once is the classic.
"""

import math
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from pydantic import BaseModel, Field
from torch import Tensor, nn

from aurify.cond import Cond, CondSpec
from aurify.evaluate.kmeans import kmeans
from aurify.family import Family, Params, Phase, Preset
from aurify.rng import Rng
from aurify.spec import Grid

STEP = 2 / 255  # between two stored grey values
DEAD = 0.02  # of an average component's share: one that takes less is started anew
OFTEN = 1.0  # components started anew for each there is, from which on there are too many
FEW = 2_000  # training samples below which components are counted by samples


class Config(BaseModel, frozen=True, extra="forbid"):
    components: int = Field(default=100, ge=1, description="in all, shared out over the labels, one each at least")
    rank: int = Field(
        default=10, ge=0, description="directions in which a component's numbers vary together; 0: none, all: full"
    )
    noise: Literal["diagonal", "isotropic"] = Field(
        default="diagonal", description="variance that the directions leave: each number's own, or one for all"
    )
    shrink: float = Field(
        default=0.001, ge=0, description="how far a component's noise is drawn to the data's variance, in components"
    )
    floor: float = Field(default=0.0025, gt=0, description="smallest standard deviation of the noise")
    lr: float = Field(default=0.05, gt=0, le=1, description="share of the statistics that a step renews")


class Options(BaseModel, frozen=True, extra="forbid"):
    temperature: float = Field(default=1.0, ge=0, le=2, description="scale of all noise; 0: the components' means")
    smooth: bool = Field(default=False, description="leave out the noise that the directions do not explain")


class Gaussians(NamedTuple):
    """The M-step's result."""

    share: Float[Tensor, " K"]
    A: Float[Tensor, "K D Q1"]
    psi: Float[Tensor, "K D"]


class Posterior(NamedTuple):
    """log p(k, x), and what z is, given k and x: N(mean, covariance), the latter the same for all x."""

    log_joint: Float[Tensor, "B K"]
    mean: Float[Tensor, "B K Q"]
    covariance: Float[Tensor, "K Q Q"]


class Mixture(Family):
    """A mixture of Gaussians on Grid; see the module's equations."""

    kind = Grid
    Config = Config
    Options = Options
    spec: Grid
    config: Config
    chunk = 16
    looks = 2048
    wants: ClassVar[dict[str, Any]] = {"clip": 1e9, "ema": 0.0, "warmup": 0.0}  # statistics, not slopes
    centre: Tensor
    owner: Tensor
    reborn: Tensor

    def __init__(self, spec: Grid, cond: CondSpec, config: Config):
        super().__init__(spec, cond, config)
        D, labels = spec.dims, max(1, cond.width)
        each = -(-config.components // labels)
        K, Q = each * labels, min(config.rank, D)
        self.xz = nn.Parameter(torch.empty(K, D, Q + 1))
        self.zz = nn.Parameter(torch.empty(K, Q + 1, Q + 1))
        self.xx = nn.Parameter(torch.empty(K, D))
        self.register_buffer("centre", torch.zeros(D))  # what x is measured from: sums of squares stay small
        self.register_buffer("owner", torch.arange(K) // each, persistent=False)
        self.register_buffer("reborn", torch.zeros((), dtype=torch.long))
        A = torch.cat([torch.randn(K, D, Q) * 0.1, torch.randn(K, D, 1) * 0.5], 2)
        self.put(torch.arange(K), Gaussians(torch.full((K,), 1 / K), A, torch.full((K, D), 0.25)))

    @torch.no_grad()
    def put(self, k: Tensor, g: Gaussians) -> None:
        """Statistics of components k from which the M-step reads g."""
        share, eye = g.share[:, None, None], torch.eye(g.A.shape[2]).to(g.A)
        self.xz[k] = (share * g.A).to(self.xz)
        self.zz[k] = (share * eye).to(self.zz)
        self.xx[k] = (g.share[:, None] * (g.psi + g.A.square().sum(2))).to(self.xx)

    @torch.no_grad()
    def look(self, x: Tensor, cond: Cond) -> None:
        """Starts from k-means++ clusters of some training samples, of each label by itself."""
        x = x.flatten(1)
        self.centre.copy_(x.mean(0))
        x, spread = x - self.centre, x.var(0, correction=0) + self.config.floor**2
        _, D, Q1 = self.xz.shape
        for label in range(max(1, self.cond.width)):
            k = (self.owner == label).nonzero()[:, 0]
            mine = x if cond.vector is None else x[cond.vector[:, label] > 0]
            rows = mine if len(mine) else x
            found = kmeans(rows.cpu(), min(len(k), len(rows)), seed=label, restarts=4, most=20).to(rows.device)
            size = torch.bincount(found, minlength=len(k)).to(x)
            mean = rows.new_zeros(len(k), D).index_add_(0, found, rows) / size.clamp(min=1)[:, None]
            within = (rows - mean[found]).square()
            own = rows.new_zeros(len(k), D).index_add_(0, found, within) / size.clamp(min=1)[:, None]
            variance = (own * size[:, None] + spread) / (size[:, None] + 1)
            W = torch.randn(len(k), D, Q1 - 1).to(x) * (variance / max(1, 2 * (Q1 - 1))).sqrt()[..., None]
            share = size / len(rows) * (len(mine) or 1) / len(x)
            self.put(k, Gaussians(share, torch.cat([W, mean[..., None]], 2), variance / 2))
        self.reborn.zero_()
        self.revive()

    def gaussians(self) -> Gaussians:
        """The M-step. Each noise is drawn to the variance of all data, as if `shrink` of an average component's
        samples were any samples: no component can fall upon a single one."""
        xz, zz, xx = (wide(s) for s in (self.xz, self.zz, self.xx))
        share = zz[:, -1, -1].clamp(min=1e-12)
        eye = torch.eye(zz.shape[-1]).to(zz)
        A = torch.linalg.solve_ex(zz / share[:, None, None] + 1e-9 * eye, xz / share[:, None, None], left=False)[0]
        psi = xx / share[:, None] - (A * xz).sum(2) / share[:, None]
        spread = xx.sum(0) - xz[..., -1].sum(0).square()
        prior = self.config.shrink / len(share)
        psi = (share[:, None] * psi + prior * spread) / (share[:, None] + prior)
        if self.config.noise == "isotropic":
            psi = psi.mean(1, keepdim=True).expand_as(psi)
        return Gaussians(share / share.sum(), A, psi.clamp(min=self.config.floor**2))

    def posterior(self, x: Float[Tensor, "B D"], g: Gaussians) -> Posterior:
        """By the matrix determinant and inversion lemmas, with M_k = 1 + W_k' psi_k^-1 W_k."""
        W, mu = g.A[..., :-1], g.A[..., -1]
        V = W / g.psi[..., None]
        M = torch.eye(W.shape[2]).to(W) + torch.einsum("kdq,kdp->kqp", W, V)
        L = torch.linalg.cholesky_ex(M)[0]
        covariance = torch.cholesky_inverse(L)
        log_det = g.psi.log().sum(1) + 2 * L.diagonal(dim1=1, dim2=2).log().sum(1)
        constant = g.share.log() - (log_det + mu.shape[1] * math.log(2 * math.pi)) / 2
        offset, length = torch.einsum("kdq,kd->kq", V, mu), (mu.square() / g.psi).sum(1)
        V, weight, pull, covariance, constant, offset, length = (
            t.to(x) for t in (V, 1 / g.psi, mu / g.psi, covariance, constant, offset, length)
        )
        b = (x @ V.permute(1, 0, 2).flatten(1)).unflatten(1, V.shape[::2]) - offset  # W' psi^-1 (x - mu)
        mean = torch.einsum("bkq,kqp->bkp", b, covariance)
        far = x.square() @ weight.T - 2 * x @ pull.T + length - (b * mean).sum(2)
        return Posterior(constant - far / 2, mean, covariance)

    def allowed(self, cond: Cond, n: int) -> Bool[Tensor, "n K"]:
        """The components of the label asked for; all where none is."""
        if cond.vector is None:
            return torch.ones(n, len(self.owner), dtype=torch.bool, device=self.device)
        return (cond.vector[:, self.owner] > 0) | (cond.vector.sum(1, keepdim=True) == 0)

    def phases(self) -> list[Phase]:
        return [Phase("em", list(self.parameters()), self.optimizer)]

    def optimizer(self, params: Params) -> torch.optim.Optimizer:
        made = torch.optim.SGD(params, lr=self.config.lr)
        made.register_step_post_hook(lambda *_: self.revive())
        return made

    def loss(self, x: Tensor, cond: Cond, phase: str, rng: Rng) -> dict[str, Tensor]:
        """-log p(x|label) a number of the sample, of grey values with uniform noise as wide as a step between them, so
        that `bound` bounds the nats of the stored sample (Theis et al. 2016, Section 3.1); of rows it is exact.
        `alive`: how many components share the data, exp of the entropy of their shares."""
        if self.spec.size:
            x = x + STEP * (rng.uniform(*self.spec.shape).to(x) - 0.5)
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            g, x = self.gaussians(), x.float().flatten(1) - self.centre
            open_to = self.allowed(cond, len(x))
            found = self.posterior(x, g)
            log_joint = found.log_joint.masked_fill(~open_to, -torch.inf)
            log_p = log_joint.logsumexp(1) - (g.share * open_to).sum(1).log().to(x)
            expected = statistics(x, log_joint.softmax(1), found)
        kept = (self.xz, self.zz, self.xx)
        pull = torch.stack([(s * (s - e).detach()).sum() for s, e in zip(kept, expected, strict=True)]).sum()
        alive = torch.special.entr(g.share).sum().exp()
        told = {"bound": -log_p.mean() - self.step_volume, "alive": alive, "reborn": self.reborn.float()}
        return {"loss": -log_p.mean() / self.spec.dims + pull - pull.detach(), **told}

    @property
    def step_volume(self) -> float:
        """The logarithm of the volume in which grey values are stored as the same sample; rows have none: 0."""
        return self.spec.dims * math.log(STEP) if self.spec.size else 0.0

    @torch.no_grad()
    def log_prob(self, x: Tensor, cond: Cond) -> Tensor:
        """Exact, of all labels together where none is asked for. Of rows the density; of grids with axes that of a step
        between two of 256 values, plus D log(2/255): about the log-probability of the stored sample, as others have it.
        """
        g, x = self.gaussians(), x.flatten(1) - self.centre
        open_to = self.allowed(cond, len(x))
        log_joint = self.posterior(x, g).log_joint.masked_fill(~open_to, -torch.inf)
        return log_joint.logsumexp(1) - (g.share * open_to).sum(1).log().to(x) + self.step_volume

    @torch.inference_mode()
    def sample(self, cond: Cond, rng: Rng, options: Options) -> Tensor:
        """A component by its share, then a draw from it; see Options."""
        g, cond = self.gaussians(), cond.to(self.device)
        k = pick(g.share * self.allowed(cond, rng.n), rng)
        z = rng.normal(self.xz.shape[2] - 1)
        return self.draw(g, k, options.temperature * z, 0.0 if options.smooth else options.temperature, rng)

    @torch.inference_mode()
    def complete(self, x: Tensor, known: Bool[Tensor, "B C *grid"], cond: Cond, rng: Rng) -> Tensor:
        """Draws of the unknown places given the known ones, from their exact conditional distribution; known places
        stay as they are. Rows may differ in what is known."""
        g, flat, seen = self.gaussians(), wide(x.flatten(1) - self.centre), known.flatten(1)
        away = (flat[:, None] - g.A[..., -1]) * seen[:, None]  # (B, K, D)
        W = g.A[..., :-1]
        V = W / g.psi[..., None]
        M = torch.eye(W.shape[2]).to(W) + torch.einsum("kdq,kdp,bd->bkqp", W, V, wide(seen.float()))
        L = torch.linalg.cholesky(M)
        b = torch.einsum("bkd,kdq->bkq", away, V)
        mean = torch.cholesky_solve(b[..., None], L)[..., 0]
        log_det = (g.psi.log() * seen[:, None]).sum(2) + 2 * L.diagonal(dim1=2, dim2=3).log().sum(2)
        log_joint = g.share.log() - (log_det + (away.square() / g.psi).sum(2) - (b * mean).sum(2)) / 2
        log_joint = log_joint.masked_fill(~self.allowed(cond.to(self.device), len(x)), -torch.inf)
        k = pick(log_joint.softmax(1), rng)
        row = torch.arange(len(x), device=x.device)
        e = rng.normal(W.shape[2]).to(mean)[..., None]
        z = mean[row, k] + torch.linalg.solve_triangular(L[row, k].mT, e, upper=True)[..., 0]  # covariance M^-1
        return torch.where(known, x, self.draw(g, k, z, 1.0, rng))

    def draw(self, g: Gaussians, k: Tensor, z: Tensor, noise: float, rng: Rng) -> Tensor:
        """x of components k (B,) at z, with so much of their noise."""
        A, psi = (t[k].float() for t in (g.A, g.psi))
        z1 = torch.cat([z.to(A), torch.ones(len(z), 1).to(A)], 1)
        x = torch.einsum("bdq,bq->bd", A, z1) + self.centre + noise * psi.sqrt() * rng.normal(A.shape[1]).to(A)
        return x.reshape(-1, *self.spec.shape)

    @torch.no_grad()
    def revive(self) -> None:
        """Starts components that take next to no samples anew: each as one half of the largest of its label, whose
        halves' means lie one draw apart (Ueda et al. 2000 split so)."""
        share, each = self.zz[:, -1, -1], len(self.owner) // max(1, self.cond.width)
        average = share.new_zeros(max(1, self.cond.width)).index_add_(0, self.owner, share)[self.owner] / each
        for k in (share < DEAD * average).nonzero()[:, 0].tolist():
            largest = int(self.zz[:, -1, -1].masked_fill(self.owner != self.owner[k], -1).argmax())
            g = self.gaussians()
            total, A, psi = float(self.zz[largest, -1, -1]), g.A[largest], g.psi[largest]
            rng = torch.Generator().manual_seed(int(self.reborn))
            z, e = (torch.randn(n, generator=rng).to(A) for n in (A.shape[1] - 1, len(A)))
            apart = (A[:, :-1] @ z + psi.sqrt() * e) / 2
            A = torch.stack([A, A])
            A[..., -1] += torch.stack([apart, -apart])
            halves = torch.tensor([largest, k], device=A.device)
            self.put(halves, Gaussians(A.new_full((2,), total / 2), A, psi.expand(2, -1)))
            self.reborn += 1

    def notices(self, losses: dict[str, float]) -> list[tuple[str, str]]:
        """Components that find nothing to do, however often they are started anew."""
        reborn = next((value for name, value in losses.items() if name.endswith("/reborn")), 0.0)
        K = len(self.owner)
        if reborn <= OFTEN * K:
            return []
        text = (
            f"components that take next to no samples were started anew {reborn:.0f} times, and there are {K}: the "
            f"data has no use for so many. Try --set components={max(1, K // 4)}, or a smaller lr."
        )
        return [("dead-components", text)]

    @classmethod
    def presets(cls, spec: Grid) -> list[Preset]:
        rows = [(32, 8, 0), (100, 10, 300_000), (300, 12, 3_000_000), (1000, 16, 30_000_000)]
        return [Preset(Config(components=k, rank=q), batch=512, samples=n) for k, q, n in rows]

    @classmethod
    def for_data(cls, spec: Grid, samples: int) -> dict[str, Any]:
        """Few samples, few components: about fifty samples each."""
        return {"components": max(1, samples // 50)} if samples < FEW else {}

    @classmethod
    def toy(cls, spec: Grid) -> Config:
        return Config(components=6, rank=2, lr=0.3)


def statistics(x: Float[Tensor, "B D"], r: Float[Tensor, "B K"], found: Posterior) -> tuple[Tensor, Tensor, Tensor]:
    """The expected statistics xz, zz, xx of these samples, per sample."""
    z1 = torch.cat([found.mean, found.mean.new_ones(*r.shape, 1)], 2)
    weighed = r[..., None] * z1 / len(x)
    xz = (x.T @ weighed.flatten(1)).unflatten(1, weighed.shape[1:]).transpose(0, 1)
    zz = torch.einsum("bkq,bkp->kqp", weighed, z1)
    zz[:, :-1, :-1] += r.mean(0)[:, None, None] * found.covariance
    return xz, zz, r.T @ x.square() / len(x)


def pick(weight: Float[Tensor, "B K"], rng: Rng) -> Tensor:
    """A component for each row with probability in proportion to its weight, (B,)."""
    upto = weight.cumsum(1)
    u = rng.uniform().to(upto)[:, None] * upto[:, -1:]
    return (u >= upto).sum(1)


def wide(x: Tensor) -> Tensor:
    """In double precision, where the device has it: a variance is the small difference of two sums."""
    return x if x.device.type == "mps" else x.double()
